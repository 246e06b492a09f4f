package control

import (
	"context"

	"github.com/pairguard/pairguard/internal/ipc"
)

// streamConn tells by the kernel's word whom a stream is with.
type streamConn struct{ *ipc.Stream }

func (c streamConn) Trusted() error {
	peer, err := c.Peer()
	if err != nil {
		return err
	}
	return peer.Trusted()
}

type streamListener struct{ *ipc.StreamListener }

func (l streamListener) Accept() (Conn, error) {
	s, err := l.StreamListener.Accept()
	if err != nil {
		return nil, err
	}
	return streamConn{s}, nil
}

// Streams makes a [Listener] of an ipc listener, which belongs to it from now on.
func Streams(l *ipc.StreamListener) Listener { return streamListener{l} }

// Connector returns the Connect of a [Client] whose supervisors listen at a.
func Connector(a ipc.Address) func(context.Context) (Conn, error) {
	return func(ctx context.Context) (Conn, error) {
		s, err := ipc.DialStream(ctx, a)
		if err != nil {
			return nil, err
		}
		return streamConn{s}, nil
	}
}
