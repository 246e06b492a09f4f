package pairdir

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

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

func TestSpawnRoundTrip(t *testing.T) {
	d := testDir(t)
	a := d.mustName(t, "procA")
	want := Spawn{Token: "t", By: someProcess, Generation: 4, Time: time.Now().Round(0).UTC()}
	mustDo(t, d.StoreSpawn(a, want))
	if got, found, err := d.ReadSpawn(a); err != nil || !found || got != want {
		t.Fatalf("%+v %v %v", got, found, err)
	}
	started := someProcess
	want.Process = &started
	mustDo(t, d.StoreSpawn(a, want))
	if got, _, err := d.ReadSpawn(a); err != nil || *got.Process != started {
		t.Fatalf("%+v %v", got, err)
	}
}

// damages are contents that no writer of this package leaves.
func damages() []string {
	return []string{
		"", "\n\n", "\x00\x00\x00\x00", "{", `{"version":1`, "null", "[]", `"x"`, "{}", `{"version":2,"name":"procA"}`,
		`{"version":"1"}`, `{"version":1}{"version":1}`, `{"version":1,"generation":-1}`, `{"version":1,"generation":1e99}`,
		`{"version":1,"name":7}`, `{"version":1,"kind":7}`, `{"version":1,"time":"noon"}`, `{"version":1,"process":{"pid":"x"}}`,
		`{"version":1,"generation":18446744073709551615,"name":"procA","process":{"pid":1}}`,
		strings.Repeat(" ", recordRoom+1), strings.Repeat("x", 1<<20),
	}
}

func TestDamagedRecordsAreSetAsideOnce(t *testing.T) {
	d := testDir(t)
	a := d.mustName(t, "procA")
	for ext, read := range map[string]func() (bool, error){
		".life":  func() (bool, error) { _, ok, err := d.ReadLife(a); return ok, err },
		".spawn": func() (bool, error) { _, ok, err := d.ReadSpawn(a); return ok, err },
		".hold":  func() (bool, error) { left, _, err := d.ReadHold(a); return left > 0, err },
	} {
		path := d.file(a, ext)
		for _, bad := range damages() {
			put(t, path, bad)
			ok, err := read()
			var damaged *DamagedError
			if ok || !errors.As(err, &damaged) || damaged.Moved != path+".damaged" {
				t.Fatalf("%s %.40q: %v %v", ext, bad, ok, err)
			}
			wantError(t, ext, err, path, "set aside")
			if kept, err := os.ReadFile(damaged.Moved); err != nil || string(kept) != bad {
				t.Errorf("%s: not kept as it was: %v", ext, err)
			}
			if ok, err := read(); ok || err != nil {
				t.Errorf("%s: reported twice: %v", ext, err)
			}
		}
		mustDo(t, os.Mkdir(path, 0o700))
		if _, err := read(); err == nil {
			t.Errorf("%s: a folder in its place is no error", ext)
		}
		if ok, err := read(); ok || err != nil {
			t.Errorf("%s: a folder in its place is not set aside: %v", ext, err)
		}
	}
}

// A writer may put a good record in the place of a damaged one after it was read.
func TestSetAsideSparesANewRecord(t *testing.T) {
	d := testDir(t)
	path := d.Path() + "/procA.life"
	put(t, path, "damaged")
	_, read, err := readFile(path, recordRoom)
	mustDo(t, err)
	put(t, path+".new", "good")
	mustDo(t, os.Rename(path+".new", path))
	if moved := setAside(path, read); moved != "" || exists(path+".damaged") || !exists(path) {
		t.Errorf("a record that was never read is set aside as %q", moved)
	}
}

func TestMembersSkipTheDamaged(t *testing.T) {
	d := testDir(t)
	a, b := d.mustName(t, "procA"), d.mustName(t, "qt:b c")
	for _, n := range []Name{a, b} {
		mustDo(t, d.store(d.file(n, ".life"), Life{Name: n.text, Peer: "x", Generation: 1, Process: someProcess}, tillReboot))
	}
	put(t, d.Path()+"/bad.life", "{")
	put(t, d.Path()+"/other.life", `{"version":1,"name":"procA","peer":"x","generation":1,"process":{"pid":1}}`)
	members, err := d.Members()
	if len(members) != 2 || err == nil || !strings.Contains(err.Error(), "bad.life") || !strings.Contains(err.Error(), "other.life") {
		t.Fatalf("%+v %v", members, err)
	}
}

func TestHoldExpires(t *testing.T) {
	wall := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	h := Hold{Until: wall.Add(time.Hour), UntilBoot: int64(2 * time.Hour), BootID: "b1", For: time.Hour}
	for _, c := range []struct {
		what string
		now  instant
		want time.Duration
	}{
		{"same boot", instant{wall, int64(90 * time.Minute), "b1"}, 30 * time.Minute},
		{"same boot, wall clock set forward", instant{wall.Add(9 * time.Hour), int64(90 * time.Minute), "b1"}, 30 * time.Minute},
		{"same boot, wall clock set back", instant{wall.Add(-9 * time.Hour), int64(3 * time.Hour), "b1"}, 0},
		{"other boot", instant{wall.Add(15 * time.Minute), int64(time.Minute), "b2"}, 45 * time.Minute},
		{"other boot, expired", instant{wall.Add(2 * time.Hour), int64(time.Minute), "b2"}, 0},
		{"other boot, wall clock set back by years", instant{wall.AddDate(-5, 0, 0), int64(time.Minute), "b2"}, time.Hour},
		{"boot unknown", instant{wall.Add(15 * time.Minute), 0, ""}, 45 * time.Minute},
	} {
		if got := h.remaining(c.now); got != c.want {
			t.Errorf("%s: %v remain, want %v", c.what, got, c.want)
		}
	}
}

func TestHoldRoundTrip(t *testing.T) {
	d := testDir(t)
	a := d.mustName(t, "procA")
	wantError(t, "no duration", d.StoreHold(a, 0, "x"), "procA", "duration")
	for _, f := range []time.Duration{time.Hour, 1<<63 - 1} {
		mustDo(t, d.StoreHold(a, f, "maintenance"))
		left, _, err := d.ReadHold(a)
		held := left > 0
		if err != nil || !held || left <= 0 || left > f {
			t.Errorf("hold for %v: %v %v %v", f, left, held, err)
		}
	}
	mustDo(t, d.ClearHold(a))
	if left, _, err := d.ReadHold(a); left > 0 || err != nil {
		t.Error("still held", err)
	}
}

func TestFailedStoreKeepsTheOldRecord(t *testing.T) {
	d := testDir(t)
	a, b := d.mustName(t, "procA"), d.mustName(t, "procB")
	mustDo(t, d.StoreStop(a, b, Goodbye{Reason: "old"}))
	full := errors.New("disk full")
	for what, disk := range map[string]diskCalls{
		"nothing can be written":     {write: func(*os.File, []byte) (int, error) { return 0, full }, rename: os.Rename},
		"half of it can be written":  {write: func(f *os.File, p []byte) (int, error) { n, _ := f.Write(p[:9]); return n, full }, rename: os.Rename},
		"the name cannot be changed": {write: (*os.File).Write, rename: func(string, string) error { return full }},
	} {
		d.disk = disk
		wantError(t, what, d.StoreStop(a, b, Goodbye{Reason: "new"}), "disk full", "old one is kept")
		if g, ok, err := d.ReadStop(a, b); !ok || err != nil || g.Reason != "old" {
			t.Errorf("%s: %+v %v %v", what, g, ok, err)
		}
	}
	entries, err := os.ReadDir(d.Path())
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

func TestStraysAreRemovedLater(t *testing.T) {
	d := testDir(t)
	fresh, old := d.Path()+"/~procA.leave.1.tmp", d.Path()+"/~procA.leave.2.tmp"
	put(t, fresh, "x")
	put(t, old, "x")
	mustDo(t, os.Chtimes(old, time.Time{}, time.Now().Add(-2*strayAge)))
	mustClaim(t, d, d.mustName(t, "procB"))
	if !exists(fresh) || exists(old) {
		t.Error("a young stray may have a living writer, an old one has none")
	}
}

func fuzzRecord(f *testing.F, parse func([]byte) (any, error)) {
	for _, s := range damages()[:19] {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"version":1,"name":"a","peer":"b","kind":"stop","token":"t","by":{"pid":1},"process":{"pid":1},"generation":1,"for_ns":5,"until":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b)
		if err != nil {
			return
		}
		again, err := encodeRecord(v, recordRoom)
		if err != nil {
			return // longer than a writer of this package would make it
		}
		if _, err := parse(again); err != nil {
			t.Fatalf("read, but not read again: %v: %s", err, again)
		}
	})
}

func FuzzLife(f *testing.F) {
	fuzzRecord(f, func(b []byte) (any, error) { return parseLife(b) })
}

func FuzzGoodbye(f *testing.F) {
	fuzzRecord(f, func(b []byte) (any, error) { return parseGoodbye(b) })
}

func FuzzSpawn(f *testing.F) {
	fuzzRecord(f, func(b []byte) (any, error) { return parseSpawn(b) })
}

// playHold DIR NAME: holds its own name until the input ends.
func playHold(args []string) {
	d, err := Open(args[0])
	if err != nil {
		fmt.Println("error", err)
		return
	}
	n, err := d.Name(args[1])
	if err == nil {
		err = d.StoreOwnHold(n, time.Hour, "Ctrl-Z")
	}
	fmt.Println("stored", err)
	waitForEnd()
}

// A hold that a process has stored for itself is over when that process has ended,
// and nobody else's command ends another's.
func TestOwnHoldEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	d := testDir(t)
	a := d.mustName(t, "procA")
	kid := start(t, nil, "hold", d.Path(), "procA")
	kid.want("the hold", "stored <nil>")
	mustDo(t, d.ClearOwnHold(a)) // it is not ours
	if left, reason, err := d.ReadHold(a); left <= 0 || reason != "Ctrl-Z" || err != nil {
		t.Errorf("while it lives: %v %q %v", left, reason, err)
	}
	kid.kill()
	if left, _, err := d.ReadHold(a); left != 0 || err != nil {
		t.Errorf("after its end: %v %v", left, err)
	}
	mustDo(t, d.StoreOwnHold(a, time.Hour, ""))
	if left, _, err := d.ReadHold(a); left <= 0 || err != nil {
		t.Errorf("our own: %v %v", left, err)
	}
	mustDo(t, d.ClearOwnHold(a))
	if left, _, err := d.ReadHold(a); left != 0 || err != nil {
		t.Errorf("our own, cleared: %v %v", left, err)
	}
}

func FuzzHold(f *testing.F) {
	fuzzRecord(f, func(b []byte) (any, error) { return parseHold(b) })
}

// A token revives once: whoever inherits it from the revived process is a person.
func TestTokenRevivesOnce(t *testing.T) {
	d := testDir(t)
	a, b := d.mustName(t, "procA"), d.mustName(t, "procB")
	mustClaim(t, d, a)
	revives := func(want bool, token, when string) {
		t.Helper()
		if got, err := d.Revives(a, token); err != nil || got != want {
			t.Errorf("%s: revives is %v, %v, want %v", when, got, err, want)
		}
	}
	revives(false, "one", "without a start on record")
	mustDo(t, d.StoreSpawn(a, Spawn{Token: "one", By: someProcess}))
	revives(true, "one", "after the intent")
	revives(false, "", "without a token")
	revives(false, "other", "with an older token")
	if l, err := d.BeginLife(a, b, "one"); err != nil || !l.Revived {
		t.Errorf("life is %+v, %v, want a revival", l, err)
	}
	mustDo(t, d.StoreSpawn(a, Spawn{Token: "one", By: someProcess, Process: &someProcess}))
	revives(false, "one", "after the life began")
	if l, err := d.BeginLife(a, b, ""); err != nil || l.Revived {
		t.Errorf("life is %+v, %v, want one that a person began", l, err)
	}
	revives(false, "one", "after a person's life")
	mustDo(t, d.StoreSpawn(a, Spawn{Token: "two", By: someProcess}))
	revives(true, "two", "after the next intent")
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

// A start is recorded in the same way where two files cannot be exchanged, and no
// file is left beside the record.
func TestSpawnIsReplacedWithAndWithoutExchange(t *testing.T) {
	for _, can := range []bool{true, false} {
		d := testDir(t)
		a := d.mustName(t, "procA")
		if !can {
			d.disk.exchange = func(string, string) error { return ErrNotSupported }
		}
		for _, token := range []string{"one", "two", "three"} {
			mustDo(t, d.StoreSpawn(a, Spawn{Token: token, By: someProcess}))
			if s, _, err := d.ReadSpawn(a); err != nil || s.Token != token {
				t.Errorf("exchange %v: on record is %+v, %v, want token %s", can, s, err, token)
			}
		}
		files, err := os.ReadDir(d.Path())
		mustDo(t, err)
		if len(files) != 1 {
			t.Errorf("exchange %v: %d files are there, want the record alone", can, len(files))
		}
	}
}

// A launcher may be slower than the next try: what it starts at last is a revival
// all the same, as long as the life that it was to begin has not begun.
func TestTokenOfASupersededStartRevives(t *testing.T) {
	d := testDir(t)
	a, b := d.mustName(t, "procA"), d.mustName(t, "procB")
	mustClaim(t, d, a)
	slow, quick := NewToken(1), NewToken(1)
	mustDo(t, d.StoreSpawn(a, Spawn{Token: slow, By: someProcess, Command: "c"}))
	mustDo(t, d.StoreSpawn(a, Spawn{Token: quick, By: someProcess, Command: "c"}))
	for _, token := range []string{slow, quick} {
		if revives, err := d.Revives(a, token); !revives || err != nil {
			t.Errorf("token %s: revives is %v, %v before any life", token, revives, err)
		}
	}
	if is, err := d.BecameLife(a, "c"); is || err != nil {
		t.Errorf("became a life before one began: %v, %v", is, err)
	}
	if _, err := d.BeginLife(a, b, quick); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{slow, quick} {
		if revives, err := d.Revives(a, token); revives || err != nil {
			t.Errorf("token %s: revives is %v, %v after the life has begun", token, revives, err)
		}
	}
	for command, want := range map[string]bool{"c": true, "another": false} {
		if is, err := d.BecameLife(a, command); is != want || err != nil {
			t.Errorf("command %q became the life: %v, %v, want %v", command, is, err, want)
		}
	}
}
