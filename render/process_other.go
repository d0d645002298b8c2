//go:build !linux

package render

import (
	"errors"
	"os"
	"os/exec"
)

func executable() (string, error) { return os.Executable() }

// confineFromOutside does nothing here: the deadline still kills the child.
func confineFromOutside(*exec.Cmd) {}

// ownMemory is not known here: GOMEMLIMIT and the deadline are what remains.
func ownMemory(int) (int64, error) { return 0, errors.ErrUnsupported }
