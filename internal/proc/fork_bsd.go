//go:build darwin || freebsd

package proc

import "syscall"

func forkExec(path string, args []string, attr *syscall.ProcAttr) (int, error) {
	return syscall.ForkExec(path, args, attr)
}
