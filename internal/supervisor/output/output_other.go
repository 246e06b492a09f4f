//go:build !linux

package output

import (
	"context"
	"io"
	"os"
)

// Not written for this system: everything says so.

// Pump cannot be made here.
type Pump struct{}

// Stream cannot be made here.
type Stream struct{}

// MakePipe returns ErrNotSupported.
func MakePipe(string) error { return ErrNotSupported }

// OpenReader returns ErrNotSupported.
func OpenReader(string) (*os.File, error) { return nil, ErrNotSupported }

// OpenWriter returns ErrNotSupported.
func OpenWriter(string) (*os.File, error) { return nil, ErrNotSupported }

// OpenLog returns ErrNotSupported.
func OpenLog(LogSpec) (*os.File, error) { return nil, ErrNotSupported }

// NewPump returns ErrNotSupported.
func NewPump() (*Pump, error) { return nil, ErrNotSupported }

// Add returns ErrNotSupported.
func (p *Pump) Add(pipe, log *os.File, _ LogSpec, _ Hooks) (*Stream, error) {
	return nil, ErrNotSupported
}

// Close does nothing: there are no pumps.
func (p *Pump) Close() {}

// Drained returns ErrNotSupported.
func (s *Stream) Drained(context.Context) error { return ErrNotSupported }

// Close does nothing: there are no streams.
func (s *Stream) Close() {}

// Log is nil: there are no streams.
func (s *Stream) Log() *os.File { return nil }

// Dropped is 0: there are no streams.
func (s *Stream) Dropped() uint64 { return 0 }

// End returns ErrNotSupported.
func End(string) (Position, error) { return Position{}, ErrNotSupported }

// Copy returns ErrNotSupported.
func Copy(io.Writer, LogSpec, bool) (Position, error) { return Position{}, ErrNotSupported }

// Follow returns ErrNotSupported.
func Follow(context.Context, io.Writer, string, Position) error { return ErrNotSupported }
