package lab

import "syscall"

// procAttr puts a child into a process group of its own and has the kernel
// end it when this process ends, however that happens.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
