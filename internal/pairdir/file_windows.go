package pairdir

import (
	"os"

	"golang.org/x/sys/windows"
)

const openNoWait = 0

// syncFolder does nothing: a folder cannot be synced here, NTFS logs renames.
func syncFolder(string) {}

// openShared opens a file for reading that others may rename meanwhile, which
// os.Open forbids them here.
func openShared(path string) (*os.File, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(p, windows.GENERIC_READ,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil,
		windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}
