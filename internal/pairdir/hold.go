package pairdir

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/pairguard/pairguard/internal/proc"
)

// Hold is judging and reviving of a name suspended by a person: KEY.hold.
type Hold struct {
	Name      string        `json:"name"`
	Until     time.Time     `json:"until"`      // by the wall clock
	UntilBoot int64         `json:"until_boot"` // ns on the clock since boot, suspension included; 0 unknown
	BootID    string        `json:"boot_id"`    // the boot that UntilBoot belongs to
	For       time.Duration `json:"for_ns"`     // as asked for, in ns: no clock can make it longer
	Reason    string        `json:"reason,omitempty"`
	// Process, when there, is the one that the hold is about: with its end the hold
	// is over, so that a death is no part of what was asked for.
	Process *proc.ID `json:"process,omitempty"`
}

func parseHold(b []byte) (h Hold, err error) {
	err = parseRecord(b, &h, func() error {
		switch {
		case h.For <= 0:
			return errors.New("it has no duration")
		case h.Until.IsZero():
			return errors.New("it has no end")
		case h.UntilBoot < 0:
			return errors.New("it ends before the boot")
		case h.Process != nil && h.Process.PID <= 0:
			return errors.New("it names no process")
		}
		return nil
	})
	return h, err
}

// remaining decides by the boot clock within the same boot, as it runs on while
// the machine sleeps and nobody sets it, else by the wall clock.
func (h Hold) remaining(now instant) time.Duration {
	left := h.Until.Sub(now.wall)
	if h.UntilBoot > 0 && now.boot > 0 && h.BootID != "" && h.BootID == now.bootID {
		left = time.Duration(h.UntilBoot - now.boot)
	}
	return min(max(left, 0), h.For)
}

// instant is now, on every clock that a hold knows.
type instant struct {
	wall   time.Time
	boot   int64 // ns since boot; 0 unknown
	bootID string
}

func currentInstant() instant {
	now := instant{wall: time.Now().Round(0), boot: bootClock()}
	if self, err := proc.Self(); err == nil {
		now.bootID = self.BootID
	}
	return now
}

// StoreHold suspends judging and reviving of n for the duration f, which must be
// positive. A new hold replaces the old one.
func (d *Dir) StoreHold(n Name, f time.Duration, reason string) error {
	return d.storeHold(n, f, reason, nil)
}

// StoreOwnHold is StoreHold for this process, which has the name n: the hold ends
// with it at the latest.
func (d *Dir) StoreOwnHold(n Name, f time.Duration, reason string) error {
	self, err := proc.Self()
	if err != nil {
		return fmt.Errorf("hold of %s: %w", n, err)
	}
	return d.storeHold(n, f, reason, &self)
}

func (d *Dir) storeHold(n Name, f time.Duration, reason string, process *proc.ID) error {
	if f <= 0 {
		return fmt.Errorf("hold of %s: duration %v is not positive; give one, for example 10m", n, f)
	}
	now := currentInstant()
	h := Hold{Name: n.text, Until: now.wall.Add(f), BootID: now.bootID, For: f, Reason: shorten(reason), Process: process}
	if now.boot > 0 && int64(f) <= math.MaxInt64-now.boot {
		h.UntilBoot = now.boot + int64(f)
	}
	return d.store(d.file(n, ".hold"), h, onDisk, n.key)
}

// ClearHold ends the hold of n; there being none is success.
func (d *Dir) ClearHold(n Name) error { return d.remove(d.file(n, ".hold")) }

// ClearOwnHold ends the hold of n that this process has stored; another one stays.
func (d *Dir) ClearOwnHold(n Name) error {
	h, found, err := d.loadHold(n)
	if err != nil || !found {
		return err
	}
	if self, err := proc.Self(); err != nil || h.Process == nil || *h.Process != self {
		return err
	}
	return d.ClearHold(n)
}

// ReadHold reports for how long n is still held, 0 when it is not, and why. A
// damaged record is a *DamagedError.
func (d *Dir) ReadHold(n Name) (remaining time.Duration, reason string, err error) {
	h, found, err := d.loadHold(n)
	if err != nil || !found || h.Process != nil && proc.Gone(*h.Process) {
		return 0, "", err
	}
	return h.remaining(currentInstant()), h.Reason, nil
}

func (d *Dir) loadHold(n Name) (h Hold, found bool, err error) {
	found, err = d.load(d.file(n, ".hold"), func(b []byte) (err error) {
		h, err = parseHold(b)
		return err
	})
	return h, found, err
}
