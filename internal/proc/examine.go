package proc

import (
	"strconv"
	"time"
)

// Examination is one look at what a process is doing, and at what keeps it from
// doing anything. One look proves little; several of them, some time apart, tell a
// process that cannot run from one that does not.
type Examination struct {
	// Threads are all threads that live; the next three count those of them that
	// want to run or are running (R), that wait inside the kernel where no signal
	// reaches them (D), and that were stopped by a signal (T). The others sleep.
	Threads, Runnable, Blocked, Stopped int
	// Tracer is the process that traces a thread, or stands still in its hands;
	// the zero Tracer: none.
	Tracer Tracer
	// Frozen is the cgroup by which it is frozen, as /proc/PID/cgroup names it;
	// empty: none. FrozenKnown: that could be found out.
	Frozen      string
	FrozenKnown bool
	// CPU is the processor time that all of its threads have used together, also
	// those that have ended. CPUKnown: that could be found out.
	CPU      time.Duration
	CPUKnown bool
	// RunDelay is how long the threads that live have waited for a processor so
	// far. The kernel adds a wait when it is over, so it tells afterwards and
	// decides nothing. Negative: unknown.
	RunDelay time.Duration
	// Throttled counts the periods in which a cgroup around it had used up its
	// quota of processor time; added when they are over, too. Negative: unknown.
	Throttled int64
	// ThrottledBy is the innermost cgroup with such a quota; empty: none.
	ThrottledBy string
}

// Tracer names a process that traces another one: a debugger.
type Tracer struct {
	PID  int
	Name string // its command; empty: it could not be read
}

// String is "gdb (process 123)", or empty when there is no tracer.
func (t Tracer) String() string {
	switch {
	case t.PID == 0: // none, or not told which
		return t.Name
	case t.Name == "":
		return "process " + strconv.Itoa(t.PID)
	}
	return t.Name + " (process " + strconv.Itoa(t.PID) + ")"
}
