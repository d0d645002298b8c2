//go:build linux && !amd64

package render

// refusedLegacySyscalls are older forms that newer architectures do not have.
func refusedLegacySyscalls() []uintptr { return nil }
