package sim

import (
	"math/bits"
	"time"

	"github.com/pairguard/pairguard/internal/detector"
	"github.com/pairguard/pairguard/internal/protocol"
)

// limbo is a reason for which a process stands still, as the system shows it.
type limbo uint8

const (
	stopped limbo = iota // by a signal: state T, which is no excuse
	starved              // it wants to run and gets no time
	frozen               // its cgroup is frozen
	traced               // a debugger has stopped it
	pausing              // it starved in the middle of its work, and that has a pause in it
	limboCount
)

// longestPause is the longest that the work of an application has, and still owes a
// sign of life within the timeout.
const longestPause = 1600 * time.Millisecond

// knownToStarve: a process that gets time again has done nothing but starve, and
// its guard knows. What it did before it was suspect nobody has looked at; so one of
// which that is not known owes its sign of life at once.
func (w *world) knownToStarve(p *process) bool {
	f := &w.folder
	if p.excusedAt != never && p.excusedAt > p.stillFrom {
		return false // it was frozen as well, say
	}
	return !p.paused && p.guiltyAt == never && p.lateAt > p.stillFrom && p.lateAt < w.now-seenWithin && !f.everHeld(p.name)
}

// seenWithin is how long a guard needs to be sure that its peer starves.
const seenWithin = 600 * time.Millisecond

// sight is what an Examine finds.
func (w *world) sight(id int32) detector.Sample {
	p := &w.procs[id]
	s := detector.Sample{Threads: 5, FrozenKnown: true, CPUKnown: true, CPU: p.cpu, RunDelay: -1, Throttled: -1}
	if p.spins && p.still == 0 {
		s.CPU += w.now - p.runsSince
	}
	switch {
	case p.state >= dying:
		return detector.Sample{Err: "the process is gone"}
	case w.chance(w.faults.Unreadable):
		return detector.Sample{Err: "too many open files"}
	}
	if p.limbo[traced] > 0 {
		s.Tracer = "gdb"
	}
	if p.limbo[frozen] > 0 {
		s.Frozen = "/app"
	}
	switch {
	case p.limbo[starved] > 0: // a signal that stops it takes effect when it runs
		s.Runnable = 1
	case p.limbo[stopped] > 0:
		s.Stopped = 5
	case p.spins && p.still == 0:
		s.Runnable = 1
	default:
		s.Runnable = w.wakes(p)
	}
	if s.Runnable > 0 && w.chance(w.faults.Misses) {
		s.Runnable = 0
	}
	return w.brokenLook(p, s)
}

// wakes: one that sleeps is found awake now and then. When that happens in nearly all
// looks of a window it is taken for starved, for the time that it then has to rest.
func (w *world) wakes(p *process) (runnable int) {
	if p.still == 0 && w.chance(w.faults.Wakes) {
		runnable = 1
	}
	p.awake = p.awake<<1 | uint8(runnable)
	if bits.OnesCount8(p.awake&0x3f) >= 5 {
		p.misreadAt = w.now
	}
	return runnable
}

// brokenLook is what the variants that judge badly make of a look.
func (w *world) brokenLook(p *process, s detector.Sample) detector.Sample {
	switch w.broken {
	case starvationUnseen:
		if p.limbo[starved] > 0 {
			s.Runnable = 0
		}
	case debuggerUnseen:
		s.Tracer = ""
	case freezerUnseen:
		s.Frozen = ""
	case stopTakenForDebugger:
		if s.Stopped > 0 {
			s.Tracer = "nobody"
		}
	case spinTakenForHunger:
		s.CPU = 0
	}
	return s
}

// examine answers an Examine.
func (w *world) examine(it item) {
	x := it.event.(protocol.Examined)
	x.Sample = w.sight(procOf(x.Process))
	w.later(it.p, x)
}

// excusedNow: the process could not speak if it wanted to.
func (p *process) excusedNow() bool {
	return p.limbo[starved] > 0 || p.limbo[frozen] > 0 || p.limbo[traced] > 0 || p.limbo[pausing] > 0
}

// innocent: whenever it could run it was well, for longer than it takes to suspect
// and judge it.
func (w *world) innocent(p *process) bool {
	return !p.sick && p.begun && p.limbo[stopped] == 0 && (p.guiltyAt == never || p.guiltyAt < w.now-timeout-2*time.Second)
}
