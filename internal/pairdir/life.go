package pairdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pairguard/pairguard/internal/proc"
)

// Life is the newest life of a name: KEY.life. Its rename into place is the
// instant in which the life begins and a leave of the life before ends.
type Life struct {
	Name       string    `json:"name"`
	Peer       string    `json:"peer"`
	Generation uint64    `json:"generation"` // counts the lives of the name, from 1
	Process    proc.ID   `json:"process"`
	Started    time.Time `json:"started"`
	Revived    bool      `json:"revived"` // started by its peer, not by a person
	// Token is that of the newest start of the name that has become a life; a
	// process that carries it later has inherited it (see [Dir.Revives]).
	Token string `json:"token,omitempty"`
	// Address and PeerAddress are where qt: names were found, which depends on the
	// environment of whoever asks.
	Address     string `json:"address,omitempty"`
	PeerAddress string `json:"peer_address,omitempty"`
}

// Member is a name that has lived in the folder.
type Member struct {
	Name Name
	Peer Name // the zero Name when its peer's name cannot be parsed here
	Life Life
}

// maxGeneration is beyond what any name can reach: above it a number is damage,
// and counting on would wrap around.
const maxGeneration = 1 << 62

func parseLife(b []byte) (l Life, err error) {
	err = parseRecord(b, &l, func() error {
		switch {
		case l.Name == "":
			return errors.New("it has no name")
		case l.Generation == 0 || l.Generation > maxGeneration:
			return fmt.Errorf("its generation is %d", l.Generation)
		case l.Process.PID <= 0:
			return errors.New("it names no process")
		}
		return nil
	})
	return l, err
}

// BeginLife records that this process, which must hold n, begins the next life
// of n with the given peer. A token says that it is a revival, by the start which
// that token names, and uses the token up; empty: a person began it. The
// generation is above every one on record. The error is clear and the old life
// stays when the record cannot be stored.
func (d *Dir) BeginLife(n, peer Name, token string) (Life, error) {
	if !d.holding(n) {
		return Life{}, fmt.Errorf("name %s: %w by this process; claim it first", n, ErrNotHeld)
	}
	self, err := proc.Self()
	if err != nil {
		return Life{}, fmt.Errorf("name %s: %w", n, err)
	}
	last, err := d.lastGeneration(n)
	if err != nil {
		return Life{}, err
	}
	l := Life{
		Name: n.text, Peer: peer.text, Generation: last.Generation + 1, Process: self, Started: time.Now(),
		Revived: token != "", Token: token, Address: n.place(), PeerAddress: peer.place(),
	}
	if token == "" {
		l.Token = last.Token
	}
	if err := d.store(d.file(n, ".life"), l, onDisk, n.key); err != nil {
		return Life{}, err
	}
	// From here on the leave counts no more, as its generation is an older one.
	// Dying before the removal changes nothing.
	_ = d.remove(d.file(n, ".leave"))
	return l, nil
}

// RestoreLife puts the record of the life that this process lives back when it is
// missing, as after the removal of the folder, and says whether it was. It returns
// ErrNotHeld when this process does not hold the name.
func (d *Dir) RestoreLife(n Name, l Life) (restored bool, err error) {
	if !d.holding(n) {
		return false, fmt.Errorf("name %s: %w by this process; claim it first", n, ErrNotHeld)
	}
	path := d.file(n, ".life")
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err := d.store(path, l, onDisk, n.key); err != nil {
		return false, err
	}
	return true, nil
}

// lastGeneration is the newest life, with the highest generation of any record of
// n, so that a lost life record does not make an old leave look like a new one.
func (d *Dir) lastGeneration(n Name) (Life, error) {
	l, _, err := d.ReadLife(n)
	if err := ignoreDamage(err); err != nil {
		return l, err
	}
	last := l.Generation
	s, _, err := d.ReadSpawn(n)
	if ignoreDamage(err) == nil && s.Generation > 0 {
		last = max(last, s.Generation-1) // the spawn's is that of the life to come
	}
	leave, found, err := d.readGoodbye(d.file(n, ".leave"))
	if err != nil {
		return l, err
	}
	if found && leave.Damaged != nil {
		// It counts until the new life begins, and says so from now on; removing it
		// first would leave an instant in which nothing is announced.
		g := Goodbye{Name: n.text, Generation: last, Reason: "damaged record", Time: time.Now()}
		if err := d.StoreLeave(n, g); err != nil {
			return l, err
		}
	}
	l.Generation = max(last, leave.Generation)
	return l, nil
}

func ignoreDamage(err error) error {
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		return nil
	}
	return err
}

// ReadLife returns the newest life of n. A damaged record is a *DamagedError.
func (d *Dir) ReadLife(n Name) (l Life, found bool, err error) {
	return d.readLife(d.file(n, ".life"))
}

func (d *Dir) readLife(path string) (l Life, found bool, err error) {
	found, err = d.load(path, func(b []byte) (err error) {
		l, err = parseLife(b)
		return err
	})
	if !found {
		l = Life{}
	}
	return l, found, err
}

// Members returns the names that have a life record, in the order of their
// files. Damaged records are reported in the error, which does not spoil the
// rest.
func (d *Dir) Members() ([]Member, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", d.path, err)
	}
	var members []Member
	var errs []error
	for _, e := range entries {
		key, ok := strings.CutSuffix(e.Name(), ".life")
		if !ok || strings.HasPrefix(key, "~") {
			continue
		}
		m, found, err := d.member(filepath.Join(d.path, e.Name()), key)
		if err != nil {
			errs = append(errs, err)
		} else if found {
			members = append(members, m)
		}
	}
	return members, errors.Join(errs...)
}

func (d *Dir) member(path, key string) (m Member, found bool, err error) {
	m.Life, found, err = d.readLife(path)
	if err != nil || !found {
		return m, false, err
	}
	if m.Name, err = d.Name(m.Life.Name); err != nil {
		return m, false, fmt.Errorf("record %s: %w; remove it", path, err)
	}
	if m.Name.key != key && !m.Name.plain {
		return m, false, fmt.Errorf("record %s: is that of %s; remove it", path, m.Life.Name)
	}
	// $TMPDIR may differ here: the record decides where a name is, and the file which
	// name is meant.
	m.Name = d.at(m.Name, m.Life.Address)
	m.Name.key = key
	if m.Peer, err = d.Name(m.Life.Peer); err == nil {
		m.Peer = d.at(m.Peer, m.Life.PeerAddress)
	}
	return m, true, nil
}
