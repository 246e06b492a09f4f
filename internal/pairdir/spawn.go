package pairdir

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
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
	// Command tells one command from another; it is no command line.
	Command string `json:"command,omitempty"`
}

// NewToken makes a token for a start that begins the given generation of a name
// (0: not known). No other start has it. It is no secret: who could use it wrongly
// could do worse without it.
func NewToken(generation uint64) string {
	return fmt.Sprintf("%d-%016x%016x", generation, rand.Uint64(), rand.Uint64())
}

// tokenGeneration is the generation that a token of NewToken was made for; 0: none.
func tokenGeneration(token string) uint64 {
	number, _, _ := strings.Cut(token, "-")
	generation, _ := strconv.ParseUint(number, 10, 64)
	return generation
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

// RestoreSpawn puts the record of a start back when it is missing, as after the
// removal of the folder, and says whether it was.
func (d *Dir) RestoreSpawn(n Name, s Spawn) (restored bool, err error) {
	if _, err := os.Lstat(d.file(n, ".spawn")); !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return true, d.StoreSpawn(n, s)
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
// started by the peer: no life has used the token yet, and it was made for a life
// that has still to begin (a launcher may be slower than the next try), or it is
// that of the newest start under n. What a revived program starts later inherits
// its environment, and with it a token that is used up: a person's start is told
// apart so.
func (d *Dir) Revives(n Name, token string) (bool, error) {
	if token == "" {
		return false, nil
	}
	l, _, err := d.ReadLife(n)
	if err := ignoreDamage(err); err != nil || l.Token == token {
		return false, err
	}
	if tokenGeneration(token) > l.Generation {
		return true, nil
	}
	s, found, err := d.ReadSpawn(n)
	return found && s.Token == token, ignoreDamage(err)
}

// BecameLife reports whether the newest recorded start under n, made by the command
// that is told apart as command, has become the newest life of n: what that command
// starts is a member.
func (d *Dir) BecameLife(n Name, command string) (bool, error) {
	s, found, err := d.ReadSpawn(n)
	if err := ignoreDamage(err); err != nil || !found || s.Command != command {
		return false, err
	}
	l, found, err := d.ReadLife(n)
	return found && l.Token == s.Token, ignoreDamage(err)
}
