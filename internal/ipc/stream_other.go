//go:build !linux && !darwin && !freebsd

package ipc

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

// Streams are written for Unix alone yet: everything here says so.

func noStreams() error { return fmt.Errorf("streams on %s: %w", runtime.GOOS, ErrNotSupported) }

// Stream is not to be had here.
type Stream struct{}

// DialStream returns ErrNotSupported.
func DialStream(context.Context, Address) (*Stream, error) { return nil, noStreams() }

// Read returns ErrNotSupported.
func (s *Stream) Read([]byte) (int, error) { return 0, noStreams() }

// Write returns ErrNotSupported.
func (s *Stream) Write([]byte) (int, error) { return 0, noStreams() }

// SetDeadline returns ErrNotSupported.
func (s *Stream) SetDeadline(time.Time) error { return noStreams() }

// SetReadDeadline returns ErrNotSupported.
func (s *Stream) SetReadDeadline(time.Time) error { return noStreams() }

// SetWriteDeadline returns ErrNotSupported.
func (s *Stream) SetWriteDeadline(time.Time) error { return noStreams() }

// Peer returns ErrNotSupported.
func (s *Stream) Peer() (Peer, error) { return Peer{UID: -1}, noStreams() }

// Close returns ErrNotSupported.
func (s *Stream) Close() error { return noStreams() }

// StreamListener is not to be had here.
type StreamListener struct{}

// ListenStream returns ErrNotSupported.
func ListenStream(Address) (*StreamListener, error) { return nil, noStreams() }

// AdoptStream returns ErrNotSupported, and closes the file.
func AdoptStream(f *os.File, _ Address) (*StreamListener, error) {
	f.Close()
	return nil, noStreams()
}

// Accept returns ErrNotSupported.
func (l *StreamListener) Accept() (*Stream, error) { return nil, noStreams() }

// File returns ErrNotSupported.
func (l *StreamListener) File() (*os.File, error) { return nil, noStreams() }

// Close returns ErrNotSupported.
func (l *StreamListener) Close() error { return noStreams() }
