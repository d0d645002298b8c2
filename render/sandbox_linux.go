package render

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confineFromInside takes from this process what a render does not need. All
// that can be taken is taken, even where some of it fails.
func confineFromInside() error {
	return errors.Join(limitResources(), filterSyscalls())
}

// limitResources: no core dumps, no file grows, hardly any descriptors.
func limitResources() error {
	var errs []error
	for resource, limit := range map[int]uint64{
		unix.RLIMIT_CORE:   0,
		unix.RLIMIT_FSIZE:  0,
		unix.RLIMIT_NOFILE: 16,
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			errs = append(errs, fmt.Errorf("set resource limit %d: %w", resource, err))
		}
	}
	return errors.Join(errs...)
}

// filterSyscalls has the kernel refuse, with EPERM and for all threads, the
// calls that reach outside the process. It is a list of what is refused, not
// of what is allowed, so that a new Go runtime keeps working.
func filterSyscalls() error {
	arch, ok := auditArch()
	if !ok {
		return fmt.Errorf("no syscall filter for %s", runtime.GOARCH)
	}
	program := filterProgram(arch, os.Getpid())
	// The privilege bit belongs to a thread; the filter's TSYNC carries both to all.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up gaining privileges: %w", err)
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	failed, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(program)
	switch {
	case errno != 0:
		return fmt.Errorf("set the syscall filter: %w", errno)
	case failed != 0:
		return fmt.Errorf("set the syscall filter: thread %d cannot take it", failed)
	}
	return nil
}

// auditArch is the kernel's name for this architecture.
func auditArch() (uint32, bool) {
	switch runtime.GOARCH {
	case "amd64":
		return unix.AUDIT_ARCH_X86_64, true
	case "arm64":
		return unix.AUDIT_ARCH_AARCH64, true
	default:
		return 0, false
	}
}

// Offsets in the kernel's struct seccomp_data, little endian.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArg0   = 16
)

// filterProgram is the filter in classic BPF.
func filterProgram(arch uint32, pid int) []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	answer := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	refuse := answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM))
	allow := answer(unix.SECCOMP_RET_ALLOW)
	program := []unix.SockFilter{
		load(offsetArch), jump(unix.BPF_JEQ, arch, 1, 0), refuse,
		// The x32 numbers of amd64 are second names for the same calls.
		load(offsetNumber), jump(unix.BPF_JGE, 0x40000000, 0, 1), refuse,
		// New threads, yes; new processes, no.
		jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4),
		load(offsetArg0), jump(unix.BPF_JSET, unix.CLONE_THREAD, 0, 1), allow, refuse,
		// clone3 hides its flags in memory: "not there" makes callers take clone.
		jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), answer(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)),
		// The Go runtime signals its own threads.
		jump(unix.BPF_JEQ, unix.SYS_TGKILL, 0, 4),
		load(offsetArg0), jump(unix.BPF_JEQ, uint32(pid), 0, 1), allow, refuse,
	}
	for _, number := range append(refusedSyscalls(), refusedLegacySyscalls()...) {
		program = append(program, jump(unix.BPF_JEQ, uint32(number), 0, 1), refuse)
	}
	return append(program, allow)
}

// refusedSyscalls have a number on every architecture.
func refusedSyscalls() []uintptr {
	return []uintptr{
		// network
		unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN,
		unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG,
		// programs and other processes
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_KILL, unix.SYS_TKILL,
		unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_OPEN,
		unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO,
		// files
		unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_TRUNCATE,
		unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
		unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT,
		unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR,
		// the machine
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE,
		unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_BPF,
		unix.SYS_PERF_EVENT_OPEN, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
		unix.SYS_USERFAULTFD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_KEXEC_LOAD,
		unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_ACCT, unix.SYS_SETTIMEOFDAY,
		// io_uring does most of the above without these calls
		unix.SYS_IO_URING_SETUP,
	}
}
