package ipc

import "errors"

const (
	// MaxRecord is how many bytes a Courier carries at once.
	MaxRecord = 128 << 10
	// MaxFiles is how many files go with them: SCM_MAX_FD.
	MaxFiles = 253
)

// ErrNoDescriptors says that the files of a record could not be received, above all
// because this process has too many open. The record is not lost.
var ErrNoDescriptors = errors.New("the files of a record cannot be received: too many are open here, or a security module forbids it")
