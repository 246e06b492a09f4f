package pairdir

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// inEveryWay runs a test with each of the ways in which this system holds a name;
// env makes other processes use it.
func inEveryWay(t *testing.T, test func(t *testing.T, env []string)) {
	for way, env := range waysToHold {
		t.Run(way, func(t *testing.T) { test(t, env) })
	}
}

func TestManyProcessesOneHolder(t *testing.T) {
	many := 50
	if runtime.GOOS == "windows" {
		many = 20 // a start costs more there
	}
	inEveryWay(t, func(t *testing.T, env []string) {
		d := testDir(t)
		kids := make([]*kid, many)
		for i := range kids {
			kids[i] = start(t, env, "claim", d.Path(), "procA")
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
	})
}

func TestHolderKilledIsFree(t *testing.T) {
	inEveryWay(t, func(t *testing.T, env []string) {
		d := testDir(t)
		n := d.mustName(t, "procA")
		for range 5 {
			k := start(t, env, "claim", d.Path(), "procA")
			k.want("free name", "held")
			if h, err := d.Holder(n); err != nil || !h.Held || h.PID != k.pid() {
				t.Fatalf("holder %+v %v, want %d", h, err, k.pid())
			}
			_, err := d.Claim(n)
			var taken *TakenError
			if !errors.As(err, &taken) || taken.PID != k.pid() {
				t.Fatalf("want taken by %d, got %v", k.pid(), err)
			}
			k.kill()
			// Windows may free a lock a moment after the death. A claim waits for that.
			if h, err := d.Holder(n); err != nil || h.Held && runtime.GOOS != "windows" {
				t.Fatalf("dead, but held: %+v %v", h, err)
			}
			c, err := d.Claim(n)
			mustDo(t, err)
			if notes := c.Notes(); env == nil && len(notes) != 0 {
				t.Errorf("notes of a claim that lacks nothing: %q", notes)
			}
			mustDo(t, c.Release())
			if h, err := d.Holder(n); err != nil || h.Held {
				t.Fatalf("released, but held: %+v %v", h, err)
			}
		}
	})
}

func TestTakenByThisProcess(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	c := mustClaim(t, d, n)
	again := "procA"
	if foldsCase {
		again = "PROCa"
	}
	other, err := Open(filepath.Join(d.Path(), "..", "d") + string(filepath.Separator) + ".")
	mustDo(t, err)
	_, err = other.Claim(other.mustName(t, again))
	var taken *TakenError
	if !errors.As(err, &taken) || taken.PID != os.Getpid() {
		t.Fatalf("want taken by this process, got %v", err)
	}
	if h, err := d.Holder(n); err != nil || h != (Holder{true, os.Getpid()}) {
		t.Fatalf("%+v %v", h, err)
	}
	// None of this may have dropped the lock.
	start(t, nil, "claim", d.Path(), "procA").want("held here", "error name procA: taken by process "+strconv.Itoa(os.Getpid()))
	mustDo(t, c.Release())
	wantError(t, "second release", c.Release(), "not held")
	start(t, nil, "claim", d.Path(), "procA").want("released", "held")
}

func TestManyClaimsInOneProcess(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	results := make(chan *Claim, 32)
	for range cap(results) {
		go func() {
			_, _ = d.Holder(n)
			c, _ := d.Claim(n)
			results <- c
		}()
	}
	held := 0
	for range cap(results) {
		if c := <-results; c != nil {
			held++
			defer c.Release()
		}
	}
	if held != 1 {
		t.Fatalf("%d goroutines hold one name", held)
	}
	start(t, nil, "claim", d.Path(), "procA").want("held here", "error name procA: taken")
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
