package detector

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	timeout = 2 * time.Second
	confirm = 200 * time.Millisecond
)

func TestSilenceMakesASuspectAndThenAVerdict(t *testing.T) {
	d := New(timeout, confirm)
	d.Restart(time.Second)
	for _, c := range []struct {
		words string
		at    time.Duration
		want  Verdict
	}{
		{"a window that has just opened is healthy", time.Second, Healthy},
		{"the last moment before the timeout is healthy", 3*time.Second - 1, Healthy},
		{"silence for the timeout makes a suspect", 3 * time.Second, Suspect},
		{"the last moment of the confirmation is not judged", 3200*time.Millisecond - 1, Suspect},
		{"a suspect that stays silent is hung", 3200 * time.Millisecond, Hung},
		{"and stays so", time.Hour, Hung},
	} {
		if got := d.Judge(c.at); got != c.want {
			t.Errorf("%s: at %v it is %v, want %v", c.words, c.at, got, c.want)
		}
	}
}

func TestOwnLatenessWidensTheWindow(t *testing.T) {
	d := New(timeout, confirm)
	d.Late(3 * time.Second)
	d.Late(time.Second)
	if got := d.SuspectAt(); got != 6*time.Second {
		t.Errorf("after being late twice the peer is suspect at %v, want 6s", got)
	}
	if got := d.Heard(5 * time.Second); got != time.Second || d.OwnLateness() != 4*time.Second {
		t.Errorf("of five seconds %v were heard, want 1s", got)
	}
	d.Sign(time.Second)
	if got := d.SuspectAt(); got != 3*time.Second {
		t.Errorf("a sign of life ends the credit: suspect at %v, want 3s", got)
	}
}

func TestAnOldSignChangesNothing(t *testing.T) {
	d := New(timeout, confirm)
	d.Restart(10 * time.Second)
	d.Late(time.Second)
	d.Sign(9 * time.Second)
	if got := d.SuspectAt(); got != 13*time.Second {
		t.Errorf("a sign of life older than the newest moved the suspicion to %v, want 13s", got)
	}
}

func TestExpire(t *testing.T) {
	d := New(timeout, confirm)
	d.Restart(10 * time.Second)
	d.Late(time.Second)
	d.Expire(11 * time.Second)
	if d.SuspectAt() != 11*time.Second || d.Judge(11*time.Second) != Suspect {
		t.Errorf("expired at 11s, but suspect at %v", d.SuspectAt())
	}
}

func TestSetTimeout(t *testing.T) {
	d := New(timeout, confirm)
	d.SetTimeout(5 * time.Second)
	if d.SuspectAt() != 5*time.Second || d.HungAt() != 5*time.Second+confirm {
		t.Errorf("suspect at %v, hung at %v, want 5s and 5.2s", d.SuspectAt(), d.HungAt())
	}
	if got := d.Silence(7 * time.Second); got != 7*time.Second {
		t.Errorf("silence is %v, want 7s", got)
	}
}

func TestVerdictStrings(t *testing.T) {
	if Healthy.String() != "healthy" || Suspect.String() != "suspect" || Hung.String() != "hung" {
		t.Error("a verdict has the wrong word")
	}
}

// TestAgainstADumbDetector compares with one that only keeps the whole story.
func TestAgainstADumbDetector(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, now := New(timeout, confirm), time.Duration(0)
		var newest, late time.Duration
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond
			switch by := time.Duration(rapid.IntRange(0, 4000).Draw(t, "by")) * time.Millisecond; rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				d.Sign(now - by)
				if now-by > newest {
					newest, late = now-by, 0
				}
			case 1:
				d.Late(by)
				late += by
			case 2:
				d.Restart(now)
				newest, late = now, 0
			}
			want := Healthy
			if heard := now - newest - late; heard >= timeout+confirm {
				want = Hung
			} else if heard >= timeout {
				want = Suspect
			}
			if got := d.Judge(now); got != want {
				t.Fatalf("at %v it is %v, want %v", now, got, want)
			}
		}
	})
}
