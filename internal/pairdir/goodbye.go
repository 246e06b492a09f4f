package pairdir

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pairguard/pairguard/internal/proc"
)

// The kinds of goodbyes.
const (
	KindLeave = "leave" // one process ends
	KindStop  = "stop"  // the pair ends
)

// Goodbye is an announced end. That the file exists is the announcement; the
// content explains it.
type Goodbye struct {
	Kind       string    `json:"kind"`
	Name       string    `json:"name"` // who announces it
	Peer       string    `json:"peer"`
	Generation uint64    `json:"generation"` // of Name
	Process    proc.ID   `json:"process"`
	Reason     string    `json:"reason,omitempty"`
	Time       time.Time `json:"time"`
	// SessionEnd says that the session of the user ends, not this process alone: such
	// a leave is over with that session.
	SessionEnd bool `json:"session_end,omitempty"`
	// Damaged is why the content could not be read; the goodbye counts all the same.
	Damaged error `json:"-"`
}

func parseGoodbye(b []byte) (g Goodbye, err error) {
	err = parseRecord(b, &g, func() error {
		if g.Kind != KindLeave && g.Kind != KindStop {
			return fmt.Errorf("kind is %.20q", g.Kind)
		}
		if g.Generation > maxGeneration {
			return fmt.Errorf("its generation is %d", g.Generation)
		}
		return nil
	})
	return g, err
}

// StoreLeave announces that the process with the name n ends; g.Generation is
// that of the life that ends (0: the newest on record). The announcement stands
// when StoreLeave returns nil, and from then on a death is a leave. It works on a
// full disk if this or another process claimed n before. It may wait for the disk.
func (d *Dir) StoreLeave(n Name, g Goodbye) error {
	if g.Generation == 0 {
		if l, found, _ := d.ReadLife(n); found {
			g.Generation = l.Generation
		}
	}
	return d.storeGoodbye(d.file(n, ".leave"), KindLeave, g, n.key)
}

// StoreStop announces the end of the pair a and b, in any order. As StoreLeave.
func (d *Dir) StoreStop(a, b Name, g Goodbye) error {
	return d.storeGoodbye(d.stopFile(a, b), KindStop, g, a.key, b.key)
}

func (d *Dir) storeGoodbye(path, kind string, g Goodbye, keys ...string) error {
	g.Kind = kind
	g.Reason = shorten(g.Reason)
	if g.Time.IsZero() {
		g.Time = time.Now()
	}
	return d.store(path, g, onDisk, keys...)
}

// shorten cuts a reason to maxReason bytes, between characters.
func shorten(s string) string {
	if len(s) <= maxReason {
		return s
	}
	cut := maxReason
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// ClearStop takes the stop of the pair back; there being none is success.
func (d *Dir) ClearStop(a, b Name) error { return d.remove(d.stopFile(a, b)) }

// ReadStop reports whether the end of the pair a and b, in any order, is
// announced. A damaged record counts. An error means that this cannot be known,
// which is not "no".
func (d *Dir) ReadStop(a, b Name) (Goodbye, bool, error) {
	return d.readGoodbye(d.stopFile(a, b))
}

// ReadLeave reports whether n left in its newest life. A leave of an older life
// does not count, nor one of an earlier boot or session: a shutdown ends every
// process with a leave, and whoever is started after it is to have its peer again. A
// damaged one counts. An error means that this cannot be known.
func (d *Dir) ReadLeave(n Name) (Goodbye, bool, error) {
	g, found, err := d.readGoodbye(d.file(n, ".leave"))
	if err != nil || !found || g.Damaged != nil {
		return g, found, err
	}
	l, known, err := d.ReadLife(n)
	if err := ignoreDamage(err); err != nil {
		return g, false, err
	}
	// Without a readable life the leave stands: BeginLife removes it, so that it is
	// most probably of that life, and an announced end is never answered.
	if known && l.Generation != g.Generation || ofEarlierBoot(g.Process) || ofEndedSession(g) {
		return Goodbye{}, false, nil
	}
	return g, true, nil
}

// ofEarlierBoot: the process lived before the machine was started; false where
// that cannot be told.
func ofEarlierBoot(id proc.ID) bool {
	self, err := proc.Self()
	return err == nil && id.BootID != "" && self.BootID != "" && id.BootID != self.BootID
}

// began is when this process was started, nearly.
var began = time.Now()

// ofEndedSession: the process left because its session ended, and this one was
// started later. Nothing is started while a session ends, so that is another session.
// Who lived then, in another session, leaves the peer alone.
func ofEndedSession(g Goodbye) bool { return g.SessionEnd && g.Time.Before(began) }

func (d *Dir) readGoodbye(path string) (Goodbye, bool, error) {
	b, _, err := readFile(path, recordRoom)
	if errors.Is(err, fs.ErrNotExist) {
		return Goodbye{}, false, nil
	}
	var bad *damage
	if err != nil && !errors.As(err, &bad) {
		return Goodbye{}, false, fmt.Errorf("record %s: %w; make it readable or remove it", path, err)
	}
	var g Goodbye
	if err == nil {
		g, err = parseGoodbye(b)
	}
	if err != nil {
		return Goodbye{Damaged: fmt.Errorf("record %s: damaged (%w); it counts as it exists", path, err)}, true, nil
	}
	return g, true, nil
}

// stopFile is the same for both orders. '+' occurs in no key.
func (d *Dir) stopFile(a, b Name) string {
	first, second := a.key, b.key
	if strings.Compare(first, second) > 0 {
		first, second = second, first
	}
	return filepath.Join(d.path, "stop."+first+"+"+second)
}
