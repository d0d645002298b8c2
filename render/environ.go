//go:build !race

package render

func raceEnviron() []string { return nil }
