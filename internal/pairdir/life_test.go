package pairdir

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pairguard/pairguard/internal/proc"
)

func TestLifeCountsGenerations(t *testing.T) {
	d := testDir(t)
	a, b := d.mustName(t, "procA"), d.mustName(t, "procB")
	if _, err := d.BeginLife(a, b, ""); !errors.Is(err, ErrNotHeld) {
		t.Fatalf("a life begins without the name lock: %v", err)
	}
	mustClaim(t, d, a)
	for want := uint64(1); want <= 3; want++ {
		l, err := d.BeginLife(a, b, "")
		mustDo(t, err)
		read, found, err := d.ReadLife(a)
		mustDo(t, err)
		if l.Generation != want || !found || read.Generation != want || read.Process.PID != os.Getpid() || read.Peer != "procB" {
			t.Fatalf("want generation %d, got %+v, on record %+v", want, l, read)
		}
	}
	members, err := d.Members()
	mustDo(t, err)
	if len(members) != 1 || members[0].Name != a || members[0].Peer != b {
		t.Fatalf("members: %+v", members)
	}
}

func TestLeaveCountsForTheNewestLifeOnly(t *testing.T) {
	d := testDir(t)
	a, b := d.mustName(t, "procA"), d.mustName(t, "procB")
	leaves := func(want bool, when string) {
		t.Helper()
		if _, left, err := d.ReadLeave(a); err != nil || left != want {
			t.Fatalf("%s: left is %v, %v", when, left, err)
		}
	}
	leaves(false, "in an empty folder")
	mustClaim(t, d, a)
	l, err := d.BeginLife(a, b, "")
	mustDo(t, err)
	mustDo(t, d.StoreLeave(a, Goodbye{Name: "procA", Reason: "sigterm"}))
	leaves(true, "after the leave")
	old, err := os.ReadFile(d.file(a, ".leave"))
	mustDo(t, err)
	if _, err = d.BeginLife(a, b, ""); err != nil {
		t.Fatal(err)
	}
	leaves(false, "in the next life")
	put(t, d.file(a, ".leave"), string(old)) // as if the process had died before the removal
	leaves(false, "with the leave of the life before")
	mustDo(t, os.Remove(d.file(a, ".life")))
	leaves(true, "without a life on record")
	next, err := d.BeginLife(a, b, "")
	mustDo(t, err)
	if next.Generation <= l.Generation {
		t.Fatalf("a new life has the generation of an old leave: %d", next.Generation)
	}
	leaves(false, "in the life after that")
}

// The rename of the life record is the instant in which a leave ends, a damaged
// one included: a death before it leaves the announcement, a death after it does not.
func TestLeaveEndsAtTheRenameOfTheLife(t *testing.T) {
	d := testDir(t)
	reader, err := Open(d.Path())
	mustDo(t, err)
	a := d.mustName(t, "procA")
	mustClaim(t, d, a)
	for _, content := range []string{"", `{"version":1,"kind":"leave","name":"procA","generation":1}`} {
		mustDo(t, d.store(d.file(a, ".life"), Life{Name: "procA", Generation: 1, Process: someProcess}, tillReboot))
		put(t, d.file(a, ".leave"), content)
		looked := false
		d.disk.rename = func(from, to string) error {
			life := to == d.file(a, ".life")
			if _, left, err := reader.ReadLeave(a); life && (!left || err != nil) {
				t.Errorf("leave %q: not announced before the new life: %v", content, err)
			}
			err := os.Rename(from, to)
			if _, left, err := reader.ReadLeave(a); life && (left || err != nil) {
				t.Errorf("leave %q: still announced in the new life: %v", content, err)
			}
			looked = looked || life
			return err
		}
		_, err := d.BeginLife(a, a, "")
		mustDo(t, err)
		d.disk = realDisk()
		if !looked || exists(d.file(a, ".leave")) {
			t.Errorf("leave %q: looked %v", content, looked)
		}
	}
}

func TestDamagedGoodbyesCount(t *testing.T) {
	d := testDir(t)
	a, b := d.mustName(t, "procA"), d.mustName(t, "procB")
	mustClaim(t, d, a)
	for _, bad := range append(damages(), `{"version":1,"kind":"what"}`) {
		_, err := d.BeginLife(a, b, "")
		mustDo(t, err)
		put(t, d.file(a, ".leave"), bad)
		put(t, d.stopFile(a, b), bad)
		g, left, err := d.ReadLeave(a)
		if err != nil || !left || g.Damaged == nil {
			t.Errorf("leave %.30q: %+v %v %v", bad, g, left, err)
		}
		g, stopped, err := d.ReadStop(b, a)
		if err != nil || !stopped || g.Damaged == nil {
			t.Errorf("stop %.30q: %+v %v %v", bad, g, stopped, err)
		}
	}
	mustDo(t, os.Remove(d.file(a, ".life")))
	for range 2 { // also when nothing tells the generation
		_, err := d.BeginLife(a, b, "")
		mustDo(t, err)
		if _, left, err := d.ReadLeave(a); left || err != nil {
			t.Fatalf("a damaged leave outlives the start of the name: %v", err)
		}
	}
}

func TestStopIsOneRecordForThePair(t *testing.T) {
	d := testDir(t)
	a, b, c := d.mustName(t, "procA"), d.mustName(t, "qt:x y"), d.mustName(t, "procC")
	mustDo(t, d.StoreStop(a, b, Goodbye{Name: "procA", Reason: strings.Repeat("停", 500)}))
	g, stopped, err := d.ReadStop(b, a)
	if err != nil || !stopped || g.Kind != KindStop || g.Damaged != nil || len(g.Reason) != 399 {
		t.Fatalf("%+v %v %v", g, stopped, err)
	}
	if _, stopped, _ := d.ReadStop(a, c); stopped {
		t.Error("the stop of one pair counts for another")
	}
	mustDo(t, d.ClearStop(b, a))
	if _, stopped, _ := d.ReadStop(a, b); stopped {
		t.Error("the stop is still there")
	}
}

func FuzzLife(f *testing.F) {
	fuzzRecord(f, func(b []byte) (any, error) { return parseLife(b) })
}

func FuzzGoodbye(f *testing.F) {
	fuzzRecord(f, func(b []byte) (any, error) { return parseGoodbye(b) })
}

// A shutdown makes every member leave; at the next boot the pair is to come back
// whole, whichever member is started.
func TestLeaveOfAnEarlierBootDoesNotCount(t *testing.T) {
	d := testDir(t)
	a := d.mustName(t, "procA")
	self, err := proc.Self()
	mustDo(t, err)
	if self.BootID == "" {
		t.Skip("this system does not tell one boot from another")
	}
	for _, boot := range []struct {
		id   string
		want bool
	}{{self.BootID, true}, {"an earlier one", false}, {"", true}} {
		leaver := self
		leaver.BootID = boot.id
		mustDo(t, d.StoreLeave(a, Goodbye{Name: "procA", Generation: 1, Process: leaver}))
		if _, left, err := d.ReadLeave(a); err != nil || left != boot.want {
			t.Errorf("boot %q: left is %v, %v, want %v", boot.id, left, err, boot.want)
		}
	}
}

func TestLifeIsRestoredWhenItsRecordIsGone(t *testing.T) {
	d := testDir(t)
	a, b := d.mustName(t, "procA"), d.mustName(t, "procB")
	if _, err := d.RestoreLife(a, Life{}); !errors.Is(err, ErrNotHeld) {
		t.Errorf("a life was restored without the name lock: %v", err)
	}
	mustClaim(t, d, a)
	l, err := d.BeginLife(a, b, "")
	mustDo(t, err)
	if restored, err := d.RestoreLife(a, l); restored || err != nil {
		t.Errorf("a life was restored over the one on record: %v, %v", restored, err)
	}
	mustDo(t, os.Remove(d.file(a, ".life")))
	if restored, err := d.RestoreLife(a, l); !restored || err != nil {
		t.Errorf("restored is %v, %v", restored, err)
	}
	if read, found, err := d.ReadLife(a); !found || err != nil || read.Generation != l.Generation {
		t.Errorf("on record is %+v, %v, %v, want %+v", read, found, err, l)
	}
}
