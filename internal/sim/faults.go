package sim

import (
	"math/rand/v2"
	"time"
)

// Faults says what can go wrong and how often; probabilities are from 0 to 1.
type Faults struct {
	Happenings  int           // at most so many deeds of the person in a run
	Quiet       time.Duration // no happening comes later than this
	Calm        time.Duration // how long the world is watched after that
	Clustered   float64       // of a happening: that it comes close to another one
	PlainPair   float64       // of a run: that one member is a plain peer
	Alone       float64       // of a run: that only one member is started
	SlowMessage float64       // of a message or completion: that it takes up to SlowBy
	SlowBy      time.Duration
	LateTimer   float64       // of a timer: that it comes up to 15 ms late
	SpawnFails  float64       // of a start
	SpawnExits  float64       // of a started process: that it ends at once
	SlowBoot    float64       // of a started process: that it takes seconds
	Unreadable  float64       // of a look at a process: that nothing can be seen
	Wakes       float64       // of a look at one that sleeps: that it happens to be awake
	Misses      float64       // of a look at one that wants to run: that it misses that
	Pauses      float64       // of one that has starved: that its work has a pause before the next sign of life
	StoreFails  float64       // of a stored goodbye
	Teardown    time.Duration // longest time a death takes
	RecordTime  time.Duration // longest time between a start and its record
	MessageTime time.Duration // longest time of an ordinary message or completion
}

// DefaultFaults is what the promises are checked against.
func DefaultFaults() Faults {
	return Faults{
		Happenings: 10, Quiet: 24 * time.Second, Calm: 22 * time.Second,
		Clustered: 0.5, PlainPair: 0.2, Alone: 0.2,
		SlowMessage: 0.05, SlowBy: 20 * time.Millisecond, LateTimer: 0.02,
		SpawnFails: 0.05, SpawnExits: 0.03, SlowBoot: 0.03, StoreFails: 0.01,
		Unreadable: 0.01, Wakes: 0.05, Misses: 0.002, Pauses: 0.5,
		Teardown: 120 * time.Millisecond, RecordTime: 10 * time.Millisecond, MessageTime: 2 * time.Millisecond,
	}
}

// deed is one kind of thing that the person, or fate, does.
type deed uint8

const (
	kill             deed = iota // kill -9
	killAtAction                 // kill -9 right at a certain action of the process
	standStill                   // SIGSTOP, SIGCONT after a while
	stopForEver                  // SIGSTOP
	stall                        // the whole machine gets no CPU for a while, one process after the other comes back
	suspend                      // the machine sleeps
	sicken                       // the application is stuck: heartbeats say so
	leave                        // SIGTERM
	stopHere                     // Ctrl-C
	stopTwice                    // Ctrl-C, and again
	stopFolder                   // pairguard stop
	hold                         // pairguard hold
	unhold                       // pairguard unhold
	start                        // a person starts the member
	startTwice                   // twice at once
	removeSocket                 // rm of the socket file
	folderAway                   // the folder cannot be read for a while
	spawnsFail                   // nothing can be started for a while
	impersonate                  // a process that does not hold the name says HELLO
	visit                        // a person starts the member and ends it soon (SIGTERM)
	startAgainstStop             // a person starts a member in the middle of a stop
	starve                       // other processes leave it no time, for a while
	freeze                       // its cgroup is frozen for a while
	debug                        // a debugger stops it for a while
	deedCount
)

var deedNames = [...]string{
	kill: "kill", killAtAction: "kill-at-action", standStill: "stand-still", stopForEver: "stop-for-ever", stall: "stall",
	suspend: "suspend", sicken: "sicken", leave: "leave", stopHere: "ctrl-c", stopTwice: "ctrl-c-twice", stopFolder: "stop",
	hold: "hold", unhold: "unhold", start: "start", startTwice: "start-twice", removeSocket: "remove-socket",
	folderAway: "folder-away", spawnsFail: "spawns-fail", impersonate: "impersonate", visit: "visit", startAgainstStop: "start-against-stop",
	starve: "starve", freeze: "freeze", debug: "debug",
}

// weights: how often a deed is drawn, relative to the others.
var weights = [deedCount]int{
	kill: 20, killAtAction: 12, standStill: 10, stopForEver: 6, stall: 5, suspend: 2, sicken: 4, leave: 4, stopHere: 2, stopTwice: 1,
	stopFolder: 2, hold: 5, unhold: 3, start: 8, startTwice: 3, removeSocket: 3, folderAway: 3, spawnsFail: 3, impersonate: 4, visit: 5, startAgainstStop: 2,
	starve: 8, freeze: 4, debug: 4,
}

// happening is one deed at its time.
type happening struct {
	at    time.Duration
	deed  deed
	name  int           // whom it concerns: 0 or 1
	lasts time.Duration // for deeds that last
	which uint8         // the action that killAtAction waits for
}

// plan is everything that a run is told beside its delays.
type plan struct {
	plain      bool // the second member is a plain peer
	started    [2]bool
	startAt    [2]time.Duration
	happenings []happening
}

func drawPlan(r *rand.Rand, f Faults) plan {
	p := plan{plain: r.Float64() < f.PlainPair, started: [2]bool{true, true}}
	if r.Float64() < f.Alone {
		p.started[r.IntN(2)] = false
	}
	for i := range p.startAt {
		p.startAt[i] = upTo(r, time.Duration(r.IntN(3))*time.Second+1)
	}
	n := r.IntN(f.Happenings + 1)
	for range n {
		p.happenings = append(p.happenings, drawHappening(r, f, p))
	}
	return p
}

func drawHappening(r *rand.Rand, f Faults, p plan) happening {
	h := happening{
		at: time.Second/2 + upTo(r, f.Quiet-time.Second/2), deed: drawDeed(r), name: r.IntN(2),
		which: uint8(r.IntN(6)), lasts: upTo(r, 4*time.Second),
	}
	if len(p.happenings) > 0 && r.Float64() < f.Clustered {
		other := p.happenings[r.IntN(len(p.happenings))]
		spread := []time.Duration{5, 50, 500, 3000}[r.IntN(4)] * time.Millisecond
		h.at = min(max(other.at+upTo(r, 2*spread)-spread/2, time.Second/2), f.Quiet)
	}
	switch h.deed {
	case hold:
		h.lasts = time.Second + upTo(r, 10*time.Second)
	case starve, freeze, debug:
		h.lasts = min(upTo(r, 12*time.Second), f.Quiet+4*time.Second-h.at)
	case visit:
		h.lasts = 10*time.Millisecond + upTo(r, 200*time.Millisecond)
	case stall, standStill:
		if r.IntN(2) == 0 {
			h.lasts = upTo(r, 300*time.Millisecond)
		}
	}
	return h
}

func drawDeed(r *rand.Rand) deed {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := r.IntN(sum)
	for d, w := range weights {
		if n -= w; n < 0 {
			return deed(d)
		}
	}
	return kill
}

func upTo(r *rand.Rand, d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(r.Int64N(int64(d)))
}
