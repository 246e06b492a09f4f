package detector

import (
	"fmt"
	"strings"
	"time"
)

// Sample is one look at a suspect, through a handle on it. What could not be found
// out says so: unknown is not zero.
type Sample struct {
	// Err, when not empty, says why it could not be looked at; nothing else counts.
	Err string
	// Threads are all; those that want to run (R), that wait inside the kernel (D)
	// and that were stopped by a signal (T) are counted. The others sleep.
	Threads, Runnable, Blocked, Stopped int
	// Tracer names the debugger that has hold of it; empty: none.
	Tracer string
	// Frozen is the cgroup that is frozen; empty: none, if FrozenKnown.
	Frozen      string
	FrozenKnown bool
	// CPU is the processor time of all its threads together, if CPUKnown.
	CPU      time.Duration
	CPUKnown bool
	// RunDelay is how long its threads have waited for a processor; negative:
	// unknown. Throttled counts how often the quota of ThrottledBy was used up;
	// negative: unknown. Both are credited only afterwards, so they confirm and do
	// not decide.
	RunDelay    time.Duration
	Throttled   int64
	ThrottledBy string
}

// Cause is what kept a suspect from speaking.
type Cause uint8

// The causes. Those before Unreadable excuse it for as long as they last.
const (
	Nothing    Cause = iota // it had the chance
	Debugger                // somebody traces it
	Freezer                 // its cgroup is frozen
	Starvation              // its threads want to run and get no processor time
	Unreadable              // it cannot be looked at
	Disk                    // it waits inside the kernel (D), for how long nobody can say
	Unclear                 // too few looks so far
)

func (c Cause) String() string {
	return [...]string{"nothing", "debugger", "freezer", "starvation", "unreadable", "disk", "unclear"}[c]
}

// Excuses tells whether it was seen that the process could not speak.
func (c Cause) Excuses() bool { return c == Debugger || c == Freezer || c == Starvation }

// Unsure tells whether nothing decides but time: the unsure limit.
func (c Cause) Unsure() bool { return c == Unreadable || c == Disk || c == Unclear }

// Finding is what the looks at a suspect say so far.
type Finding struct {
	Cause Cause
	// Words say it to a person.
	Words string
}

// How an Inquiry weighs. A Go program that does nothing is runnable in 0 of 60
// looks, a starved one in 60 of 60; what lies between has to be told by a majority.
const (
	window    = 6                      // looks that count
	minLooks  = 4                      // fewer say nothing about starvation
	asleepOf3 = 2                      // of 3 looks without a runnable thread: it does not want to run
	hungry    = 5                      // looks in the window that see a runnable thread: it has to be given time to rest
	restStep  = 150 * time.Millisecond // what one look can say of the time before it
	stale     = time.Second            // a look that is older says nothing of now
	// minChance bounds chanceOf below: a heartbeat of a Go program takes some 0.1 ms.
	minChance = 20 * time.Millisecond
)

// chanceOf is the processor time, for each thread that wants it all the time, with which a
// process has had the chance to speak: what a heartbeat needs, many times over.
func chanceOf(timeout time.Duration) time.Duration { return max(minChance, timeout/40) }

// Inquiry collects the looks at one suspect, from the suspicion on, and says
// whether it had the chance to speak. Begin opens one; the zero value is ready too.
type Inquiry struct {
	looks    [window]Sample
	readable int // looks so far that saw something
	first    Sample
	firstAt  time.Duration
	last     Sample
	lastAt   time.Duration
	err      string // of the newest look, if it saw nothing
	errAt    time.Duration
	slept    int           // looks so far that saw it asleep
	starved  bool          // it wanted to run in most looks of some window
	rested   time.Duration // how long it has been seen asleep since then
}

// Begin forgets every look, as for a new suspicion or one whose excuse has ended.
func (q *Inquiry) Begin() { *q = Inquiry{} }

// Look adds one look, taken at now.
func (q *Inquiry) Look(now time.Duration, s Sample) {
	if q.err = s.Err; s.Err != "" {
		q.errAt = now
		return
	}
	if s.held() || q.last.held() { // neither sleep nor hunger, and after it everything begins anew
		q.Begin()
	}
	var since time.Duration
	if q.readable > 0 {
		since = now - q.lastAt
	}
	if q.readable == 0 {
		q.first, q.firstAt = s, now
	}
	if s.asleep() {
		q.slept++
		if q.starved {
			q.rested += min(since, restStep)
		}
	}
	q.last, q.lastAt = s, now
	q.looks[q.readable%window] = s
	q.readable++
	q.starved = q.starved || q.tally().runnable >= hungry
}

// held: somebody keeps it from running.
func (s Sample) held() bool { return s.Tracer != "" || s.Frozen != "" }

// asleep: no thread wants to run or waits for the kernel.
func (s Sample) asleep() bool { return s.Runnable == 0 && s.Blocked == 0 }

// Finding says what the looks up to now say; timeout is the silence that made the
// suspect. A look that saw nothing changes nothing unless the last one that saw
// something is old: whoever looks can be short of files for a moment.
//
// Silence counts only in the process's own time: one that starved may have been in
// the middle of its work all the while, and that may well contain a pause before
// the next sign of life. So it is asleep for good only when it has slept for the
// timeout since, all together. Whoever wakes it meanwhile (its own timers, we with
// our heartbeats) does not make it starve again.
func (q *Inquiry) Finding(timeout time.Duration) Finding {
	switch s := q.last; {
	case q.err != "" && (q.readable == 0 || q.errAt-q.lastAt >= stale):
		return Finding{Unreadable, "whether it can run cannot be seen: " + q.err}
	case q.readable == 0:
		return Finding{Unclear, "it has not been looked at yet"}
	case s.Tracer != "":
		return Finding{Debugger, "a debugger has hold of it: " + s.Tracer}
	case s.Frozen != "":
		return Finding{Freezer, fmt.Sprintf("its cgroup %s is frozen", s.Frozen)}
	case q.readable < minLooks:
		return Finding{Unclear, fmt.Sprintf("looked at %d times only", q.readable)}
	}
	return q.weigh(timeout)
}

// weigh decides between a process that cannot run and one that does not.
func (q *Inquiry) weigh(timeout time.Duration) Finding {
	t := q.tally()
	s := q.last
	used := s.CPU - q.first.CPU
	needed := chanceOf(timeout) * time.Duration(max(1, t.hungry))
	switch {
	case s.CPUKnown && used >= needed:
		return Finding{Nothing, fmt.Sprintf("it got %v of processor time in %v", round(used), round(q.lastAt-q.firstAt))}
	case t.stopped*3 >= t.looks*asleepOf3:
		return Finding{Nothing, "it is stopped (state T), not by a debugger, a hold or its cgroup"}
	case t.idle*3 >= t.looks*asleepOf3 && !s.FrozenKnown:
		return Finding{Unreadable, "whether its cgroup is frozen cannot be seen"}
	case q.starved && s.FrozenKnown && q.rested >= timeout:
		return Finding{Nothing, fmt.Sprintf("it starved, and has been asleep for %v since", round(q.rested))}
	case q.starved && t.idle*3 >= t.looks*asleepOf3:
		return Finding{Starvation, fmt.Sprintf("it starved, and has been asleep for only %v since", round(q.rested))}
	case t.idle*3 >= t.looks*asleepOf3:
		return Finding{Nothing, fmt.Sprintf("its %s asleep in %d of %d looks", areThreads(s.Threads), t.idle, t.looks)}
	case !q.starved && s.FrozenKnown && q.slept >= window:
		return Finding{Nothing, fmt.Sprintf("its %s asleep in %d of %d looks", areThreads(s.Threads), q.slept, q.readable)}
	case t.blocked > t.runnable:
		return Finding{Disk, fmt.Sprintf("it waits inside the kernel (state D) in %d of %d looks: a disk or the swap does not answer", t.blocked, t.looks)}
	case !s.CPUKnown:
		return Finding{Unreadable, "its processor time cannot be seen"}
	}
	return Finding{Starvation, q.starvation(t, used)}
}

// tally counts what the looks in the window saw; a look counts once.
type tally struct {
	looks, runnable, blocked, stopped, idle int
	hungry                                  int // threads that wanted to run at every look
}

func (q *Inquiry) tally() (t tally) {
	t.looks, t.hungry = min(q.readable, window), q.last.Runnable
	for _, s := range q.looks[:t.looks] {
		t.hungry = min(t.hungry, s.Runnable)
		switch {
		case s.Runnable > 0:
			t.runnable++
		case !s.asleep():
			t.blocked++
		default:
			t.idle++
			if s.Stopped > 0 {
				t.stopped++
			}
		}
	}
	return t
}

func (q *Inquiry) starvation(t tally, used time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "starved: it wants to run in %d of %d looks and got %v of processor time in %v",
		t.runnable, t.looks, round(used), round(q.lastAt-q.firstAt))
	if d := q.last.RunDelay - q.first.RunDelay; q.first.RunDelay >= 0 && d >= time.Millisecond {
		fmt.Fprintf(&b, ", having waited %v for one", round(d))
	}
	if n := q.last.Throttled - q.first.Throttled; q.first.Throttled >= 0 && n > 0 {
		fmt.Fprintf(&b, ", throttled %d times by the quota", n)
	}
	if q.last.ThrottledBy != "" {
		fmt.Fprintf(&b, " (quota of its cgroup %s)", q.last.ThrottledBy)
	}
	return b.String()
}

func areThreads(n int) string {
	if n == 1 {
		return "only thread is"
	}
	return fmt.Sprintf("%d threads are all", n)
}

// round leaves as many digits as a person reads.
func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
