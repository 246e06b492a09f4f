//go:build !unix && !windows

package pairdir

import "os"

const openNoWait = 0

// syncFolder does nothing: whether a folder can be synced is not known here.
func syncFolder(string) {}

func openShared(path string) (*os.File, error) { return os.Open(path) }

func keepRights(*os.File) {}

func renameFile(from, to string) error { return os.Rename(from, to) }

func removeFile(path string) error { return os.Remove(path) }

// insist does the step: open files forbid nothing here.
func insist(step func() error) error { return step() }
