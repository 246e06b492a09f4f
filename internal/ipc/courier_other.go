//go:build !linux

package ipc

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

// Couriers are written for Linux alone yet: everything here says so.

func noCouriers() error { return fmt.Errorf("couriers on %s: %w", runtime.GOOS, ErrNotSupported) }

// Courier is not to be had here.
type Courier struct{}

// DialCourier returns ErrNotSupported.
func DialCourier(context.Context, Address) (*Courier, error) { return nil, noCouriers() }

// Send returns ErrNotSupported.
func (c *Courier) Send(b []byte, files ...*os.File) error { return noCouriers() }

// Receive returns ErrNotSupported.
func (c *Courier) Receive() ([]byte, []*os.File, error) { return nil, nil, noCouriers() }

// SetSendDeadline returns ErrNotSupported.
func (c *Courier) SetSendDeadline(time.Time) error { return noCouriers() }

// SetReceiveDeadline returns ErrNotSupported.
func (c *Courier) SetReceiveDeadline(time.Time) error { return noCouriers() }

// Peer returns ErrNotSupported.
func (c *Courier) Peer() (Peer, error) { return Peer{UID: -1}, noCouriers() }

// Close returns ErrNotSupported.
func (c *Courier) Close() error { return noCouriers() }

// CourierListener is not to be had here.
type CourierListener struct{}

// ListenCourier returns ErrNotSupported.
func ListenCourier(Address) (*CourierListener, error) { return nil, noCouriers() }

// AdoptCourier returns ErrNotSupported, and closes the file.
func AdoptCourier(f *os.File, _ Address) (*CourierListener, error) {
	f.Close()
	return nil, noCouriers()
}

// Accept returns ErrNotSupported.
func (l *CourierListener) Accept() (*Courier, error) { return nil, noCouriers() }

// File returns ErrNotSupported.
func (l *CourierListener) File() (*os.File, error) { return nil, noCouriers() }

// Close returns ErrNotSupported.
func (l *CourierListener) Close() error { return noCouriers() }
