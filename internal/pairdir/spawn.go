package pairdir

import (
	"errors"
	"fmt"
	"time"

	"github.com/pairguard/pairguard/internal/proc"
)

// Spawn is what somebody started, or is about to start, under a name: KEY.spawn.
// It lets whoever takes over find a process whose starter died before it was known.
type Spawn struct {
	Token      string    `json:"token"` // unique, also in the environment of what is started
	By         proc.ID   `json:"by"`
	Process    *proc.ID  `json:"process"` // nil: an intent, not yet started
	Generation uint64    `json:"generation"`
	Time       time.Time `json:"time"`
}

func parseSpawn(b []byte) (s Spawn, err error) {
	err = parseRecord(b, &s, func() error {
		switch {
		case s.Token == "":
			return errors.New("it has no token")
		case s.By.PID <= 0:
			return errors.New("it does not say who started")
		case s.Process != nil && s.Process.PID <= 0:
			return errors.New("it names no process")
		case s.Generation > maxGeneration:
			return fmt.Errorf("its generation is %d", s.Generation)
		}
		return nil
	})
	return s, err
}

// StoreSpawn records s as the newest start under the name n. It does not wait for
// the disk: after a reboot no process in it exists.
func (d *Dir) StoreSpawn(n Name, s Spawn) error {
	if s.Time.IsZero() {
		s.Time = time.Now()
	}
	return d.store(d.file(n, ".spawn"), s, tillReboot, n.key)
}

// ReadSpawn returns the newest start under the name n. A damaged record is a
// *DamagedError.
func (d *Dir) ReadSpawn(n Name) (s Spawn, found bool, err error) {
	found, err = d.load(d.file(n, ".spawn"), func(b []byte) (err error) {
		s, err = parseSpawn(b)
		return err
	})
	if !found {
		s = Spawn{}
	}
	return s, found, err
}

// Revives reports whether a process that carries the token, and claims n, was
// started by the peer: the token is that of the newest start under n, and no life
// has used it yet. What a revived program starts later inherits its environment,
// and with it a token that is used up: a person's start is told apart so.
func (d *Dir) Revives(n Name, token string) (bool, error) {
	if token == "" {
		return false, nil
	}
	s, found, err := d.ReadSpawn(n)
	if err := ignoreDamage(err); err != nil || !found || s.Token != token {
		return false, err
	}
	l, found, err := d.ReadLife(n)
	return !found || l.Token != token, ignoreDamage(err)
}

// ClearSpawn forgets what was started under the name n; none is success.
func (d *Dir) ClearSpawn(n Name) error { return d.remove(d.file(n, ".spawn")) }
