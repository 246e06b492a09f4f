package detector

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// asleep is a look at a process that does nothing; a test changes what it is about.
func asleep(change func(*Sample)) Sample {
	s := Sample{Threads: 5, FrozenKnown: true, CPUKnown: true, CPU: time.Second, RunDelay: -1, Throttled: -1}
	if change != nil {
		change(&s)
	}
	return s
}

// looked is an inquiry after n looks, 50 ms apart, that each change what they see.
func looked(n int, change func(i int, s *Sample)) *Inquiry {
	var q Inquiry
	for i := range n {
		q.Look(time.Second+time.Duration(i)*50*time.Millisecond, asleep(func(s *Sample) { change(i, s) }))
	}
	return &q
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		words  string
		looks  int
		change func(i int, s *Sample)
		want   Cause
		says   string
	}{
		{"all threads asleep is a deadlock", 5, func(int, *Sample) {}, Nothing, "its 5 threads are all asleep in 5 of 5 looks"},
		{"one thread asleep", 4, func(_ int, s *Sample) { s.Threads = 1 }, Nothing, "its only thread is asleep in 4 of 4 looks"},
		{"too few looks say nothing", 3, func(int, *Sample) {}, Unclear, "3 times"},
		{"stopped by hand", 5, func(_ int, s *Sample) { s.Stopped = 5 }, Nothing, "stopped (state T)"},
		{"runnable without time is starved", 6, func(i int, s *Sample) { s.Runnable, s.CPU = 1, time.Second+ms(i)/10 }, Starvation,
			"it wants to run in 6 of 6 looks and got 500µs of processor time in 250ms"},
		{"what was credited confirms it", 6, func(i int, s *Sample) {
			s.Runnable, s.RunDelay, s.Throttled, s.ThrottledBy = 1, ms(100*i), int64(i), "/small"
		}, Starvation, ", having waited 500ms for one, throttled 5 times by the quota (quota of its cgroup /small)"},
		{"runnable with time spins", 6, func(i int, s *Sample) { s.Runnable, s.CPU = 1, time.Second+ms(50*i) }, Nothing, "it got 250ms of processor time in 250ms"},
		{"a spinning one with half a processor", 6, func(i int, s *Sample) { s.Runnable, s.CPU = 1, time.Second+ms(25*i) }, Nothing, "it got 125ms"},
		{"many runnable threads need more", 6, func(i int, s *Sample) { s.Runnable, s.CPU = 9, time.Second+ms(25*i) }, Starvation, "starved"},
		{"a wake-up among sleep is no starvation", 6, func(i int, s *Sample) { s.Runnable = 1 - min(i%5, 1) }, Nothing, "asleep in 4 of 6"},
		{"a moment of sleep among hunger is", 6, func(i int, s *Sample) { s.Runnable = min(i%5, 1) }, Starvation, "4 of 6"},
		{"a debugger", 1, func(_ int, s *Sample) { s.Tracer = "gdb (process 7)" }, Debugger, "gdb (process 7)"},
		{"a debugger counts before anything else", 6, func(i int, s *Sample) { s.Tracer, s.Frozen, s.Stopped = "gdb", "/x", 5 }, Debugger, "gdb"},
		{"a frozen cgroup", 1, func(_ int, s *Sample) { s.Frozen = "/app" }, Freezer, "its cgroup /app is frozen"},
		{"waiting for a disk", 6, func(_ int, s *Sample) { s.Blocked = 1 }, Disk, "state D"},
		{"asleep, but perhaps frozen", 6, func(_ int, s *Sample) { s.FrozenKnown = false }, Unreadable, "frozen cannot be seen"},
		{"stopped is not frozen", 6, func(_ int, s *Sample) { s.FrozenKnown, s.Stopped = false, 5 }, Nothing, "stopped"},
		{"spinning is not frozen", 6, func(i int, s *Sample) { s.FrozenKnown, s.Runnable, s.CPU = false, 1, ms(50*i) }, Nothing, "got 250ms"},
		{"runnable, its time unknown", 6, func(_ int, s *Sample) { s.CPUKnown, s.Runnable = false, 1 }, Unreadable, "processor time cannot be seen"},
		{"it cannot be looked at", 6, func(_ int, s *Sample) { s.Err = "no /proc" }, Unreadable, "no /proc"},
		{"it cannot be looked at for a moment", 6, func(i int, s *Sample) {
			if i == 5 {
				s.Err = "too many open files"
			}
		}, Nothing, "asleep in 5 of 5"},
		{"it cannot be looked at any more", 30, func(i int, s *Sample) {
			if i >= 6 {
				s.Err = "no /proc"
			}
		}, Unreadable, "no /proc"},
		{"a debugger that has let go", 9, func(i int, s *Sample) {
			if i < 5 {
				s.Tracer = "gdb"
			}
		}, Nothing, "asleep"},
	} {
		got := looked(c.looks, c.change).Finding(2 * time.Second)
		if got.Cause != c.want || !strings.Contains(got.Words, c.says) {
			t.Errorf("%s: %v, %q; want %v, %q", c.words, got.Cause, got.Words, c.want, c.says)
		}
	}
}

func TestNoLookIsNoFinding(t *testing.T) {
	q := looked(6, func(int, *Sample) {})
	q.Begin()
	if got := q.Finding(2 * time.Second); got.Cause != Unclear {
		t.Errorf("before the first look it is %v, %q", got.Cause, got.Words)
	}
}

// To stand in a debugger is no rest; what starved before it and after it has all of its
// rest to come.
func TestDebuggerIsNoRest(t *testing.T) {
	hungry := func(_ int, s *Sample) { s.Runnable = 1 }
	var q Inquiry
	nights(&q, 0, 20, hungry)
	nights(&q, 20, 50, func(_ int, s *Sample) { s.Tracer = "gdb" })
	nights(&q, 70, 20, hungry)
	if n, f := nights(&q, 90, 100, func(int, *Sample) {}); n != 20 {
		t.Errorf("it is judged after %d looks: %v, %s; want 20", n, f.Cause, f.Words)
	}
}

// A starved process that gets a little time again and again has had its chance at
// last, however long that takes.
func TestTimeAddsUp(t *testing.T) {
	var q Inquiry
	for i := range 1000 {
		s := asleep(func(s *Sample) { s.Runnable, s.CPU = 1, time.Second+time.Duration(i)*200*time.Microsecond })
		q.Look(time.Duration(i)*50*time.Millisecond, s)
		want := Starvation
		if i+1 < minLooks {
			want = Unclear
		} else if i*200 >= 50_000 {
			want = Nothing
		}
		if got := q.Finding(2 * time.Second); got.Cause != want {
			t.Fatalf("with %v of processor time it is %v, want %v", s.CPU-time.Second, got.Cause, want)
		}
	}
}

// nights are looks 0.1 s apart, until the finding is that it had the chance: how
// many, at most most.
func nights(q *Inquiry, from, most int, change func(i int, s *Sample)) (n int, f Finding) {
	for i := range most {
		q.Look(time.Duration(from+i)*100*time.Millisecond, asleep(func(s *Sample) { change(i, s) }))
		if f = q.Finding(2 * time.Second); f.Cause == Nothing {
			return i + 1, f
		}
	}
	return most, f
}

// One that starves has its pauses, too: it is judged by its own time.
func TestRestAfterStarving(t *testing.T) {
	hungry := func(_ int, s *Sample) { s.Runnable = 1 }
	var q Inquiry
	if n, f := nights(&q, 0, 50, hungry); n != 50 || f.Cause != Starvation {
		t.Fatalf("after %d looks: %v, %q", n, f.Cause, f.Words)
	}
	n, f := nights(&q, 50, 100, func(int, *Sample) {})
	if n != 20 || f.Words != "it starved, and has been asleep for 2s since" {
		t.Errorf("asleep since: judged after %d looks 0.1 s apart: %v, %q; want 20", n, f.Cause, f.Words)
	}
	q.Begin()
	if n, _ := nights(&q, 150, 100, func(int, *Sample) {}); n != minLooks {
		t.Errorf("the next suspicion takes %d looks, want %d", n, minLooks)
	}

	q.Begin()
	nights(&q, 0, 50, hungry)
	n, f = nights(&q, 50, 200, func(i int, s *Sample) { s.Runnable = i % 2 })
	if n != 39 {
		t.Errorf("awake at every other look: judged after %d: %v, %q; want 39, as many as 2 s of sleep take", n, f.Cause, f.Words)
	}

	q.Begin()
	if n, _ := nights(&q, 0, 200, func(i int, s *Sample) { s.Runnable = i % 2 }); n != 2*window-1 {
		t.Errorf("one that is awake at every other look, and never starved, is judged after %d, want %d", n, 2*window-1)
	}

	q.Begin()
	nights(&q, 0, 50, hungry)
	q.Look(time.Minute, asleep(nil))
	if q.rested != restStep {
		t.Errorf("one look after a long time of none says that it rested for %v", q.rested)
	}
	n, f = nights(&q, 700, 100, func(_ int, s *Sample) { s.Blocked = 1 })
	if n != 100 || f.Cause != Disk {
		t.Errorf("waiting for a disk is no rest: %d, %v", n, f.Cause)
	}
}

func TestEveryCauseHasAWord(t *testing.T) {
	seen := map[string]bool{}
	for c := Nothing; c <= Unclear; c++ {
		if seen[c.String()] || c.Excuses() && c.Unsure() || c == Nothing && (c.Excuses() || c.Unsure()) {
			t.Errorf("%v is not a cause of its own", c)
		}
		seen[c.String()] = true
	}
}

func TestDumbFindings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q Inquiry
		var all []Sample
		at := map[int]time.Duration{} // of the readable ones
		cpuMost := rapid.SampledFrom([]int{0, 2, 40}).Draw(t, "most cpu")
		now, cpu := time.Duration(0), time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "looks") {
			now += ms(rapid.IntRange(10, 400).Draw(t, "apart"))
			cpu += time.Duration(rapid.IntRange(0, cpuMost).Draw(t, "cpu")) * time.Millisecond
			s := asleep(func(s *Sample) {
				s.CPU = cpu
				s.Runnable = rapid.IntRange(0, 2).Draw(t, "R")
				s.Blocked = rapid.IntRange(0, 1).Draw(t, "D")
				s.Stopped = rapid.IntRange(0, 2).Draw(t, "T")
				s.FrozenKnown, s.CPUKnown = rapid.Bool().Draw(t, "fk"), rapid.Bool().Draw(t, "ck")
				if rapid.IntRange(0, 9).Draw(t, "err") == 0 {
					s.Err = "unreadable"
				}
			})
			q.Look(now, s)
			if all = append(all, s); s.Err == "" {
				at[len(at)] = now
			}
		}
		got := q.Finding(2 * time.Second)
		readable := all[:0:0]
		for _, s := range all {
			if s.Err == "" {
				readable = append(readable, s)
			}
		}
		newest := all[len(all)-1]
		if got.Words == "" {
			t.Fatalf("no words for %v", got.Cause)
		}
		if len(readable) < minLooks {
			if !got.Cause.Unsure() {
				t.Fatalf("unreadable or too few looks, but %v", got.Cause)
			}
			return
		}
		if newest.Err != "" && got.Cause == Unreadable {
			return
		}
		newest = readable[len(readable)-1]
		quiet, wants, hungry := 0, 0, newest.Runnable
		recent := readable[max(0, len(readable)-window):]
		for _, s := range recent {
			hungry = min(hungry, s.Runnable)
			if s.Runnable == 0 && s.Blocked == 0 {
				quiet++
			}
			if s.Runnable > 0 {
				wants++
			}
		}
		starvedOnce, rest := restOf(readable, at)
		used, needed := newest.CPU-readable[0].CPU, ms(50*max(1, hungry))
		had := newest.CPUKnown && used >= needed
		starved := wants == len(recent) && newest.CPUKnown && used < needed && rest < 2*time.Second
		slept := 0
		for _, s := range readable {
			if s.Runnable == 0 && s.Blocked == 0 {
				slept++
			}
		}
		if starved && (starvedOnce || slept < window) && got.Cause != Starvation {
			t.Fatalf("runnable in every look with %v of %v needed, but %v", used, needed, got.Cause)
		}
		asleep := quiet == len(recent) && newest.FrozenKnown && (!starvedOnce || rest >= 2*time.Second)
		if (had || asleep) && got.Cause != Nothing {
			t.Fatalf("it could run and did not want to, or had the time: %v", got.Cause)
		}
		if got.Cause == Starvation && (wants == 0 && (!starvedOnce || rest >= 2*time.Second) || !newest.CPUKnown && wants > 0 && !starvedOnce || had) {
			t.Fatalf("starved with %d runnable looks and %v of %v", wants, used, needed)
		}
		if got.Cause == Nothing && starvedOnce && !had && newest.Stopped == 0 && rest < 2*time.Second && noneStopped(recent) {
			t.Fatalf("it starved and rested for %v only", rest)
		}
	})
}

// restOf is the slow way to say whether it ever starved, and for how long it has
// slept since.
func restOf(all []Sample, at map[int]time.Duration) (starved bool, rest time.Duration) {
	for i, s := range all {
		if starved && s.Runnable == 0 && s.Blocked == 0 {
			rest += min(at[i]-at[i-1], restStep)
		}
		wants := 0
		for _, r := range all[max(0, i+1-window) : i+1] {
			if r.Runnable > 0 {
				wants++
			}
		}
		starved = starved || wants >= hungry
	}
	return starved, rest
}

func noneStopped(all []Sample) bool {
	return !slices.ContainsFunc(all, func(s Sample) bool { return s.Stopped > 0 })
}
