package protocol

import (
	"time"

	"github.com/pairguard/pairguard/internal/detector"
	"github.com/pairguard/pairguard/internal/wire"
)

// Process is a process of this machine. Handle is the driver's number for a
// handle on it: the same process always has the same number, and zero means that
// no handle can be had (it lives in a PID namespace that we cannot see).
type Process struct {
	Handle uint64
	PID    int
}

// Known tells whether there is a handle, so that a death can be proved.
func (p Process) Known() bool { return p.Handle != 0 }

// Link is the driver's number for one connection; zero is none.
type Link uint64

// Event is something that happened outside. The set is sealed.
type Event interface{ event() }

type (
	// Begun: the name is ours and we listen. It comes first, once. When a person
	// started us, and not the peer, the stop of an earlier time was cleared before.
	Begun struct{ Survey Survey }
	// Ticked: the Deadline has passed.
	Ticked struct{}

	// Dialed: the connection that a Dial asked for is there; the kernel says who
	// listens at its other end.
	Dialed struct {
		Link    Link
		Process Process
		Probe   bool
	}
	// DialFailed: it could not be made.
	DialFailed struct {
		Probe  bool
		Absent bool // nobody listens there
		Reason string
	}
	// Greeted: HELLO arrived, as the first words of an inbound connection or as the
	// answer on one that we dialed. The driver has checked the speaker's user, and
	// that its process holds the name it speaks for.
	Greeted struct {
		Link    Link
		Process Process
		Hello   wire.Hello
	}
	// PlainHeard: bytes on an inbound connection that did not begin with HELLO.
	PlainHeard struct {
		Link    Link
		Process Process
	}
	// BeatHeard: a heartbeat arrived.
	BeatHeard struct {
		Link Link
		Beat wire.Beat
	}
	// ByeHeard: the peer announces its end.
	ByeHeard struct {
		Link Link
		Bye  wire.Bye
	}
	// RefusedHeard: the listener does not accept our HELLO.
	RefusedHeard struct {
		Link   Link
		Reason string
	}
	// LinkLost: the connection has ended, for whatever reason.
	LinkLost struct{ Link Link }

	// Examined answers Examine.
	Examined struct {
		Process Process
		Sample  detector.Sample
	}
	// Died: the process is proved dead. It follows every event that names the
	// process, also when it had been dead before.
	Died struct {
		Process Process
		Exit    string // in words
	}
	// Started: Spawn has started this process.
	Started struct{ Process Process }
	// StartFailed: Spawn could not start anything.
	StartFailed struct{ Reason string }

	// Surveyed answers TakeSurvey.
	Surveyed struct {
		Token  uint64
		Survey Survey
	}
	// LookAsked: somebody says that the folder has changed.
	LookAsked struct{}
	// GoodbyeStored answers StoreGoodbye; Err is empty when it was stored.
	GoodbyeStored struct {
		Kind wire.GoodbyeKind
		Err  string
	}

	// LeaveAsked: this process wants to leave.
	LeaveAsked struct{ Reason string }
	// StopAsked: this process ends the pair; asked again while it waits for the
	// peer, the peer is killed at once.
	StopAsked struct{ Reason string }
)

// Survey is what the folder and the operating system say about the pair, read
// after it was asked for.
type Survey struct {
	// Err, when not empty, says why the folder could not be read; then nothing
	// else counts, and nothing is started.
	Err string
	// Holder is the process that holds the peer's name lock, if any.
	Holder Process
	// HolderUnseen: the lock is held by a process that cannot be seen from here.
	HolderUnseen bool
	// Recorded is a process that was started for the peer's name, by whomever,
	// and still lives; it need not hold the name (a plain peer never does).
	Recorded Process
	// Stopped: the pair's stop is stored; StopReason is its reason.
	Stopped    bool
	StopReason string
	// PeerLeft: the newest life of the peer ended by a stored leave.
	PeerLeft bool
	// Generation is that of the peer's newest life on record; 0: not known. It tells
	// whether one that has left began anew.
	Generation uint64
	// Speaks: a process that our very command started for the peer's name has taken
	// that name, so whatever it starts can be expected to say HELLO.
	Speaks bool
	// HeldFor is how long judging and reviving of the peer stay suspended.
	HeldFor    time.Duration
	HoldReason string
}

func (Begun) event()         {}
func (Ticked) event()        {}
func (Dialed) event()        {}
func (DialFailed) event()    {}
func (Greeted) event()       {}
func (PlainHeard) event()    {}
func (BeatHeard) event()     {}
func (ByeHeard) event()      {}
func (RefusedHeard) event()  {}
func (LinkLost) event()      {}
func (Examined) event()      {}
func (Died) event()          {}
func (Started) event()       {}
func (StartFailed) event()   {}
func (Surveyed) event()      {}
func (LookAsked) event()     {}
func (GoodbyeStored) event() {}
func (LeaveAsked) event()    {}
func (StopAsked) event()     {}
