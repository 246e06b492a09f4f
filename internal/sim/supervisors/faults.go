package supervisors

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Faults says what can go wrong. Each happening is drawn once for a run, from the seed, so that a run can be repeated with some of
// them left out.
type Faults struct {
	Busy       time.Duration // how long things happen
	Calm       time.Duration // how long it has to come to rest afterwards
	Programs   int           // at most
	Happenings int           // at most
	// Instant is how likely a supervisor is killed right after one of the small things that it does, in a run that is drawn to have that.
	Instant float64
	// StuckExec is how likely a child hangs between fork and exec, for some seconds.
	StuckExec float64
	// FailedExec is how likely an exec fails.
	FailedExec float64
	// ShortLife is how likely a program ends by itself at once.
	ShortLife float64
	// SlowDisk is how likely a write takes long.
	SlowDisk float64
}

// DefaultFaults is what make sim runs.
func DefaultFaults() Faults {
	return Faults{
		Busy: 12 * time.Second, Calm: 25 * time.Second, Programs: 3, Happenings: 40,
		Instant: 0.004, StuckExec: 0.05, FailedExec: 0.05, ShortLife: 0.3, SlowDisk: 0.05,
	}
}

// deed is one thing that happens to the world.
type deed uint8

const (
	killActive deed = iota
	killStandby
	killBoth
	stopActive // SIGSTOP
	stopStandby
	cutLink
	diskFull
	diskHangs
	killProgram
	askStart
	askStop
	askStopNow
	askRestart
	askHold
	askUnhold
	askRedefine
	askRedefinePolicy
	askForget
	up
	deedCount
)

var deedNames = [deedCount]string{
	"kill -9 the active one", "kill -9 the standby", "kill -9 both", "SIGSTOP the active one", "SIGSTOP the standby", "the custody link breaks",
	"the disk is full", "the disk hangs", "kill -9 the program", "start", "stop", "stop now", "restart", "hold", "unhold", "redefine", "redefine its policy",
	"forget", "up",
}

// weights of the deeds when one is drawn.
var weights = [deedCount]int{8, 6, 3, 2, 2, 2, 3, 2, 6, 4, 5, 2, 6, 2, 2, 3, 2, 2, 4}

type happening struct {
	at       time.Duration
	deed     deed
	key      int
	lasts    time.Duration
	vanishes bool // the client does not wait for its answer
	number   uint64
}

func (h happening) String() string {
	s := deedNames[h.deed]
	if h.deed >= killProgram && h.deed < up {
		s += " " + keyName(h.key)
	}
	if h.lasts > 0 {
		s += fmt.Sprintf(" for %v", h.lasts.Round(time.Millisecond))
	}
	return s
}

func keyName(k int) string { return string(rune('a' + k)) }

// plan is everything about a run that is not drawn on the way.
type plan struct {
	programs   int
	policies   []int // of each program, see policies
	instant    float64
	happenings []happening
}

func drawPlan(random *rand.Rand, f Faults) plan {
	p := plan{programs: 1 + random.IntN(f.Programs)}
	for range p.programs {
		p.policies = append(p.policies, random.IntN(4))
	}
	if random.IntN(2) == 0 {
		p.instant = f.Instant * random.Float64()
	}
	sum := 0
	for _, n := range weights {
		sum += n
	}
	for n := range 1 + random.IntN(f.Happenings) {
		h := happening{at: time.Duration(random.Int64N(int64(f.Busy))), key: random.IntN(p.programs), number: uint64(n) + 1}
		if n > 0 && random.IntN(3) == 0 { // close on the heels of another
			h.at = p.happenings[n-1].at + time.Duration(random.Int64N(int64(30*time.Millisecond)))
		}
		at := random.IntN(sum)
		for at >= weights[h.deed] {
			at -= weights[h.deed]
			h.deed++
		}
		switch h.deed {
		case stopActive, stopStandby, diskFull, diskHangs, askHold:
			h.lasts = time.Duration(random.Int64N(int64(4 * time.Second)))
		}
		h.vanishes = random.IntN(5) == 0
		p.happenings = append(p.happenings, h)
	}
	return p
}
