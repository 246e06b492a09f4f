package pairdir

import (
	"fmt"
	"testing"
	"time"
)

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
