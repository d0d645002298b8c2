// Package e2e tests Isoline as its users run it: the real binary, real git
// over HTTP, real Envoys, requests through them. It imports the product only
// to compare with what the binary and Envoy did.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"isoline.dev/isoline/render"
)

// binary is the isoline under test, built once.
var binary string

func TestMain(m *testing.M) {
	render.RunIfChild()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "isoline-e2e-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "isoline")
	build := exec.Command("go", "build", "-o", binary, "isoline.dev/isoline/cmd/isoline")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build isoline:", err)
		return 2
	}
	return m.Run()
}
