//go:build race

package render

// raceEnviron keeps the race detector from waiting a second at each child's end.
func raceEnviron() []string { return []string{"GORACE=atexit_sleep_ms=0"} }
