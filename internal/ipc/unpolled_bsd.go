//go:build darwin || freebsd

package ipc

import "os"

func unpolled(fd int, name string) (*os.File, error) { return os.NewFile(uintptr(fd), name), nil }
