package lifecycle

import (
	"fmt"
	"slices"
	"time"
)

// State is what people are told about a program; the names are supervisord's, and HELD.
type State string

// The states.
const (
	Stopped  State = "STOPPED"  // a person does not want it to run
	Starting State = "STARTING" // its start is prepared or under way
	Running  State = "RUNNING"
	Backoff  State = "BACKOFF"  // down; it is started when its wait is over
	Stopping State = "STOPPING" // it, or what is left of its tree, is being ended
	Exited   State = "EXITED"   // it ended, and is not started again
	Fatal    State = "FATAL"    // it could not be started, and is not tried again
	Held     State = "HELD"     // down; it is started when the hold is over
)

var states = []State{Stopped, Starting, Running, Backoff, Stopping, Exited, Fatal, Held}

// Phase is what there is of the program in the kernel; it decides what a successor has to do first.
type Phase string

// The phases.
const (
	Idle     Phase = "idle"     // no process
	Birth    Phase = "birth"    // an open intent: there may be a process, or may never have been one
	Alive    Phase = "alive"    // its main process was started, and has not been seen dead
	Clearing Phase = "clearing" // its main process is dead, its tree not proved gone
)

// phaseOf lists the phases that a state can be in.
var phaseOf = map[State][]Phase{
	Stopped: {Idle}, Starting: {Birth}, Running: {Alive}, Backoff: {Idle}, Stopping: {Birth, Alive, Clearing},
	Exited: {Idle}, Fatal: {Idle}, Held: {Idle},
}

// Wanted is what people want of a program.
type Wanted string

// What is wanted. A program that has ended and is not to be started again is still wanted running: nobody stopped it.
const (
	WantRunning Wanted = "running"
	WantStopped Wanted = "stopped"
)

// Record is everything that a successor has to know to go on with a program. Values can be compared with ==. Times are those of
// the clock that Step is given (in the supervisors: since boot); zero is none.
type Record struct {
	State      State         `json:"state"`
	Phase      Phase         `json:"phase"`
	Wanted     Wanted        `json:"wanted"`
	Generation uint64        `json:"generation"` // of the newest intent; it only grows, and numbers can be left out
	Since      time.Duration `json:"since"`      // when State began
	Born       time.Duration `json:"born"`       // when the newest life began
	Reason     string        `json:"reason"`     // why State, in words

	Renew      bool          `json:"renew"`       // started again at once after its end, since a person asked
	StopSignal string        `json:"stop_signal"` // of the stop under way
	Signaled   bool          `json:"signaled"`    // it was sent
	Forced     bool          `json:"forced"`      // to be ended by force
	StopBy     time.Duration `json:"stop_by"`     // when the end under way is helped on
	Reminded   bool          `json:"reminded"`    // people were told that it does not end

	NextStart time.Duration `json:"next_start"` // in BACKOFF, and in HELD
	HeldUntil time.Duration `json:"held_until"`
	Starts    int           `json:"starts"`   // of the restart budget
	Restarts  int           `json:"restarts"` // starts that no person asked for, since the last one that a person did
	Failed    bool          `json:"failed"`   // the newest start came to nothing

	Ended bool `json:"ended"` // some life has ended, and this is how the last one did
	Exit  Exit `json:"exit"`
}

// Intent tells whether there is an open intent: a process of Generation may have been started, and nobody knows of it.
func (r Record) Intent() bool { return r.Phase == Birth }

// HasTree tells whether the newest generation was born, and something of its tree may be left.
func (r Record) HasTree() bool { return r.Phase == Alive || r.Phase == Clearing }

// Live tells whether there is, or may be, a process, or will be one without anybody asking. Supervisors with no live program have
// nothing to do.
func (r Record) Live() bool { return r.Phase != Idle || r.State == Backoff || r.State == Held }

// Validate says what is wrong with a record that was read from somewhere.
func (r Record) Validate() error {
	switch {
	case !slices.Contains(states, r.State):
		return fmt.Errorf("unknown state %q", r.State)
	case !slices.Contains(phaseOf[r.State], r.Phase):
		return fmt.Errorf("a program that is %s cannot be in phase %q", r.State, r.Phase)
	case r.Wanted != WantRunning && r.Wanted != WantStopped:
		return fmt.Errorf("unknown wish %q", r.Wanted)
	case r.Phase != Idle && r.Generation == 0:
		return fmt.Errorf("phase %q without a generation", r.Phase)
	case r.Starts < 0 || r.Restarts < 0:
		return fmt.Errorf("a negative number of starts")
	case min(r.Since, r.Born, r.StopBy, r.NextStart, r.HeldUntil) < 0:
		return fmt.Errorf("a negative time")
	case r.Wanted == WantStopped && (r.Renew || r.State == Backoff || r.State == Held):
		return fmt.Errorf("a program that nobody wants is to be started")
	}
	return nil
}
