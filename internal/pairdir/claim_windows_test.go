package pairdir

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"github.com/pairguard/pairguard/internal/proc"
)

func TestHolderKilledIsFree(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	for range 5 {
		k := start(t, nil, "claim", d.Path(), "procA")
		if l := k.line(); l != "held" {
			t.Fatalf("want held without any note, got %q", l)
		}
		if h, err := d.Holder(n); err != nil || !h.Held || h.PID != k.pid() {
			t.Fatalf("holder %+v %v, want %d", h, err, k.pid())
		}
		_, err := d.Claim(n)
		var taken *TakenError
		if !errors.As(err, &taken) || taken.PID != k.pid() {
			t.Fatalf("want taken by %d, got %v", k.pid(), err)
		}
		k.kill()
		c, err := d.Claim(n)
		mustDo(t, err)
		mustDo(t, c.Release())
		if h, err := d.Holder(n); err != nil || h.Held {
			t.Fatalf("released, but held: %+v %v", h, err)
		}
	}
}

func TestTwentyProcessesOneHolder(t *testing.T) {
	d := testDir(t)
	kids := make([]*kid, 20)
	for i := range kids {
		kids[i] = start(t, nil, "claim", d.Path(), "procA")
	}
	held := 0
	for _, k := range kids {
		l := k.line()
		switch {
		case strings.HasPrefix(l, "held"):
			held++
		case !strings.Contains(l, "taken by process"):
			t.Errorf("a loser is told %q", l)
		}
	}
	if held != 1 {
		t.Fatalf("%d holders", held)
	}
}

func TestTakenByThisProcess(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	c := mustClaim(t, d, n)
	_, err := d.Claim(d.mustName(t, "PROCa"))
	var taken *TakenError
	if !errors.As(err, &taken) || taken.PID != os.Getpid() {
		t.Fatalf("want taken by this process, got %v", err)
	}
	if h, err := d.Holder(n); err != nil || h != (Holder{true, os.Getpid()}) {
		t.Fatalf("%+v %v", h, err)
	}
	start(t, nil, "claim", d.Path(), "procA").want("held here", "error name procA: taken by process "+strconv.Itoa(os.Getpid()))
	mustDo(t, c.Release())
	start(t, nil, "claim", d.Path(), "procA").want("released", "held")
}

// What the file says counts while its writer lives, and at no other time.
func TestIDInALockFileThatNobodyHolds(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	k := start(t, nil, "claim", d.Path(), "procB")
	k.want("another name", "held")
	h, err := proc.Open(k.pid())
	mustDo(t, err)
	id := h.ID()
	h.Close()
	k.kill()
	dead, err := json.Marshal(id)
	mustDo(t, err)
	for what, content := range map[string]string{"a dead process": string(dead), "rubbish": "%%%", "nothing": ""} {
		put(t, d.file(n, ".lock"), content)
		if h, err := d.Holder(n); err != nil || h.Held {
			t.Errorf("%s: holder %+v %v", what, h, err)
		}
		c, err := d.Claim(n)
		mustDo(t, err)
		mustDo(t, c.Release())
	}
}

func TestHeldLockFileCannotBeRemoved(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	c := mustClaim(t, d, n)
	if err := os.Remove(d.file(n, ".lock")); err == nil {
		t.Error("the lock file could be removed")
	}
	if err := os.Rename(d.file(n, ".lock"), d.file(n, ".away")); err == nil {
		t.Error("the lock file could be renamed")
	}
	if err := renameFile(d.file(n, ".lock"), d.file(n, ".away")); err == nil {
		t.Error("the lock file could be renamed, POSIX semantics")
	}
	if healed, err := c.Check(); err != nil || len(healed) != 0 {
		t.Errorf("check: %v %v", healed, err)
	}
	start(t, nil, "claim", d.Path(), "procA").want("still held", "error name procA: taken")
}

// Readers do not keep a record from being replaced, and never see half of one.
func TestRecordsAreReplacedUnderTheEyesOfReaders(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	mustClaim(t, d, n)
	var readers sync.WaitGroup
	over := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			// A member reads a few times a second. Without pauses wine, which has no
			// POSIX semantics, would never let the writer in.
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-over:
					return
				case <-tick.C:
				}
				if _, _, err := d.ReadHold(n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 50 {
		if err := d.StoreHold(n, time.Hour, strconv.Itoa(i)); err != nil {
			t.Error(err)
		}
		if i%10 == 9 {
			if err := d.ClearHold(n); err != nil {
				t.Error(err)
			}
		}
	}
	close(over)
	readers.Wait()
}

// A file that another program keeps open, as scanners do, delays a record and
// does not lose it.
func TestRecordWaitsForAScanner(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	mustClaim(t, d, n)
	mustDo(t, d.StoreHold(n, time.Hour, "first"))
	p, err := windows.UTF16PtrFromString(d.file(n, ".hold"))
	mustDo(t, err)
	scanner, err := windows.CreateFile(p, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil, windows.OPEN_EXISTING, 0, 0)
	mustDo(t, err)
	time.AfterFunc(100*time.Millisecond, func() { _ = windows.CloseHandle(scanner) })
	mustDo(t, d.StoreHold(n, 2*time.Hour, "second"))
	if left, _, err := d.ReadHold(n); err != nil || left <= time.Hour {
		t.Errorf("%v %v, want the second hold", left, err)
	}
}
