package pairdir

import (
	"testing"
	"time"
)

// Whoever is started after the end of a session is to have its peer again; who
// lived through it, and everybody when one process alone has left, is not.
func TestLeaveOfAnEndedSessionDoesNotCount(t *testing.T) {
	d := testDir(t)
	a := d.mustName(t, "procA")
	for _, c := range []struct {
		what       string
		sessionEnd bool
		age        time.Duration // before the start of this process
		want       bool
	}{
		{"left alone, before this one was started", false, time.Minute, true},
		{"left alone, after that", false, -time.Minute, true},
		{"its session ended before", true, time.Minute, false},
		{"its session ended after", true, -time.Minute, true},
	} {
		mustDo(t, d.StoreLeave(a, Goodbye{Name: "procA", Generation: 1, SessionEnd: c.sessionEnd, Time: began.Add(-c.age)}))
		if _, left, err := d.ReadLeave(a); err != nil || left != c.want {
			t.Errorf("%s: left is %v, %v, want %v", c.what, left, err, c.want)
		}
	}
}
