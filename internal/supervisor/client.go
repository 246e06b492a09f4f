package supervisor

import (
	"context"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/pairdir"
)

// NewClient returns a client of the supervisors of a folder. launch starts them; nil:
// that there are none is an error.
func NewClient(path string, launch func(context.Context) error) (*control.Client, error) {
	dir, err := pairdir.Open(path)
	if err != nil {
		return nil, err
	}
	name, err := dir.Name(control.Active)
	if err != nil {
		return nil, err
	}
	connect := func(ctx context.Context) (control.Conn, error) {
		s, err := ipc.DialStream(ctx, name.Address())
		if err != nil {
			return nil, err
		}
		return conn{s}, nil
	}
	return &control.Client{Connect: connect, Launch: launch}, nil
}
