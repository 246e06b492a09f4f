package pairdir

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

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
