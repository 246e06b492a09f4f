//go:build !unix && !windows

package pairdir

import "os"

const openNoWait = 0

// syncFolder does nothing: whether a folder can be synced is not known here.
func syncFolder(string) {}

func openShared(path string) (*os.File, error) { return os.Open(path) }
