package render

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// executable is this program as the kernel knows it: that is still the same
// program when the file at its path was replaced by an upgrade.
func executable() (string, error) { return "/proc/self/exe", nil }

// confineFromOutside puts the child into a process group of its own, has the
// kernel end it when this process ends, however that happens, and has Cancel
// end the group.
func confineFromOutside(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}

// ownMemory is the resident memory in bytes that the process shares with no
// file: what it allocated. Without this distinction the program's own text
// would count.
func ownMemory(pid int) (int64, error) {
	statm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(statm)
	if len(fields) < 3 {
		return 0, fmt.Errorf("statm has %d fields", len(fields))
	}
	resident, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, err
	}
	shared, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil {
		return 0, err
	}
	return (resident - shared) * int64(os.Getpagesize()), nil
}
