package pairdir

import (
	"os"
	"testing"
	"time"
)

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

func FuzzSpawn(f *testing.F) {
	fuzzRecord(f, func(b []byte) (any, error) { return parseSpawn(b) })
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
