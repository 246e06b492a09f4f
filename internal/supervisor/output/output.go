package output

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// ErrNotSupported is wrapped by what this operating system cannot do. It wraps errors.ErrUnsupported.
var ErrNotSupported = fmt.Errorf("keeping a program's output is not supported on this operating system: %w", errors.ErrUnsupported)

// ErrClosed is what Drained says when its stream was closed meanwhile.
var ErrClosed = errors.New("output stream closed")

// Defaults of a LogSpec.
const (
	DefaultSize  = 10_000_000
	DefaultKeep  = 5
	DefaultStall = 10 * time.Second
)

// KeepNone as LogSpec.Keep removes a log that has reached its size.
const KeepNone = -1

// MaxKeep is the most files that Keep can ask for.
const MaxKeep = 10_000

// LogSpec says where output goes. Zero values stand for the defaults.
type LogSpec struct {
	// Path is the log file; older ones are Path.1 (the youngest) to Path.Keep.
	Path string
	// Size in bytes is what ends a log: with the line that reaches it, or at twice the size in the middle of one.
	Size int64
	// Keep is how many older files stay; KeepNone keeps none.
	Keep int
	// Stall is how long a log may take nothing before output is dropped.
	Stall time.Duration
}

// Hooks are how a Stream speaks to its owner. Both may be nil.
type Hooks struct {
	// Handover is told the new log file before the first byte goes into it, and returns when the standby holds
	// it, or when there is none. An error is noted and does not stop the output: a successor
	// without the new file finds it by its path. It runs on a goroutine of its own. The stream closes
	// the file when the next one takes its place; duplicate it (SyscallConn) to keep it.
	Handover func(log *os.File) error
	// Note is told what a person should know: output dropped, a rotation put off. It must not block.
	Note func(text string)
}

// Position is a place in a log, which stays right when the file is renamed. The zero Position is before everything.
type Position struct {
	Device, Inode uint64
	// Born tells two files apart that got the same inode one after the other: nanoseconds, 0 where the file system does not know.
	Born int64
	// Offset in bytes from the beginning of the file.
	Offset int64
}
