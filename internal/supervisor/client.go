package supervisor

import (
	"context"

	"github.com/pairguard/pairguard/internal/control"
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
	return &control.Client{Connect: control.Connector(name.Address()), Launch: launch}, nil
}
