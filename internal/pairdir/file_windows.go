package pairdir

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Relies on: FileRenameInfoEx with POSIX semantics (Windows 10 1709, NTFS), by
// which a file is replaced in one step although others read it. Elsewhere the
// replacement waits for the readers, which take an instant each.

const openNoWait = 0

// fileContention is how long a file that somebody has open in a way that forbids
// the step is tried again: scanners look at every file that was just written.
const (
	fileContention = time.Second
	filePause      = time.Millisecond
)

// insist repeats a step while somebody else's open file forbids it.
func insist(step func() error) error {
	for deadline := time.Now().Add(fileContention); ; time.Sleep(filePause) {
		err := step()
		busy := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
		if !busy || time.Now().After(deadline) {
			return err
		}
	}
}

// syncFolder does nothing: a folder cannot be synced here, NTFS logs renames.
func syncFolder(string) {}

// openShared opens a file for reading that others may rename, replace or remove
// meanwhile, which os.Open forbids them here.
func openShared(path string) (*os.File, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	var h windows.Handle
	err = insist(func() error {
		h, err = windows.CreateFile(p, windows.GENERIC_READ,
			windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil,
			windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// keepRights does nothing: there is no umask here.
func keepRights(*os.File) {}

// removeFile removes a file that somebody may be reading.
func removeFile(path string) error { return insist(func() error { return os.Remove(path) }) }

// renameFile renames in one step, in place of a file that somebody may be reading.
func renameFile(from, to string) error {
	err := renameOver(from, to)
	for _, unknown := range []error{windows.ERROR_INVALID_PARAMETER, windows.ERROR_NOT_SUPPORTED, windows.ERROR_INVALID_FUNCTION} {
		if errors.Is(err, unknown) { // an older system, another file system
			return os.Rename(from, to)
		}
	}
	return err
}

// renameInfo is the head of FILE_RENAME_INFO; the new name follows.
type renameInfo struct {
	flags  uint32
	root   windows.Handle
	length uint32 // of the name, in bytes
	name   [1]uint16
}

func renameOver(from, to string) error {
	source, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	name, err := windows.UTF16FromString(to)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(source, windows.DELETE|windows.SYNCHRONIZE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil,
		windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	defer windows.CloseHandle(h)
	var head renameInfo
	at := unsafe.Offsetof(head.name)
	buffer := make([]uint64, (int(at)+2*len(name)+int(unsafe.Sizeof(head))+7)/8) // aligned
	info := (*renameInfo)(unsafe.Pointer(&buffer[0]))
	info.flags = windows.FILE_RENAME_REPLACE_IF_EXISTS | windows.FILE_RENAME_POSIX_SEMANTICS
	info.length = uint32(2 * (len(name) - 1))
	copy(unsafe.Slice(&info.name[0], len(name)), name)
	size := uint32(at) + uint32(2*len(name))
	err = windows.SetFileInformationByHandle(h, windows.FileRenameInfoEx, (*byte)(unsafe.Pointer(info)), size)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
