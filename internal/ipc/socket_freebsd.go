package ipc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Relies on: LOCAL_PEERCRED (user), with the number of the process in the last field
// of the same structure (FreeBSD 13). Written by the book, not run.

func socket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func accept(fd int) (int, error) {
	conn, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return conn, err
}

func send(fd int, p []byte) (int, error) {
	return unix.SendmsgN(fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

func credentials(fd int) (uid, pid int, err error) {
	c, err := unix.GetsockoptXucred(fd, 0, unix.LOCAL_PEERCRED) // SOL_LOCAL is 0
	if err != nil {
		return -1, 0, err
	}
	// cr_pid shares its place with a pointer that was never used, and is 0 before
	// FreeBSD 13: unknown.
	pid = int(*(*int32)(unsafe.Add(unsafe.Pointer(c), unsafe.Sizeof(*c)-unsafe.Sizeof(uintptr(0)))))
	return int(c.Uid), max(pid, 0), nil
}
