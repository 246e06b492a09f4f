package protocol

import (
	"time"

	"github.com/pairguard/pairguard/internal/wire"
)

// Action is something that the driver has to do, in the order given. None of them
// may block the driver: what takes time runs aside and reports back as an Event.
// The set is sealed.
type Action interface{ action() }

type (
	// Dial connects to the peer's address: Dialed or DialFailed follows. A Probe is
	// a connection of its own that only asks for a HELLO.
	Dial struct{ Probe bool }
	// Send puts a message on a link; a link that is gone or full swallows it. The
	// driver fills in the application's health where a HELLO speaks of it.
	Send struct {
		Link    Link
		Message wire.Message
	}
	// SendBeat sends a heartbeat on the link, with the application's health; the
	// driver may delay it until the application has shown a sign of life.
	SendBeat struct{ Link Link }
	// CloseLink closes a connection; no LinkLost follows.
	CloseLink struct{ Link Link }

	// TakeSurvey reads the folder and the name locks: Surveyed follows, with the
	// same Token. Tokens grow, so that an older answer cannot undo a newer one.
	TakeSurvey struct{ Token uint64 }
	// Spawn records the intent and starts the peer: Started or StartFailed follows.
	Spawn struct{}
	// Kill ends the process at once, through its handle: Died follows.
	Kill struct{ Process Process }
	// Examine looks once at what the process does and what keeps it from doing
	// anything: Examined follows.
	Examine struct{ Process Process }
	// Dump makes the process say what it is doing, which ends it if it can, and
	// keeps what it says: SIGABRT. Died may follow.
	Dump struct{ Process Process }
	// Terminate asks the process to end, as one that does not speak the protocol
	// understands it (SIGTERM).
	Terminate struct{ Process Process }
	// StoreGoodbye stores our goodbye by an atomic rename: GoodbyeStored follows.
	StoreGoodbye struct {
		Kind   wire.GoodbyeKind
		Reason string
	}

	// Emit tells the world.
	Emit struct{ Notice Notice }
	// End: the machine has ended; Err is empty after an announced end that was
	// stored.
	End struct{ Err string }
)

func (Dial) action()         {}
func (Send) action()         {}
func (SendBeat) action()     {}
func (CloseLink) action()    {}
func (TakeSurvey) action()   {}
func (Spawn) action()        {}
func (Kill) action()         {}
func (Examine) action()      {}
func (Dump) action()         {}
func (Terminate) action()    {}
func (StoreGoodbye) action() {}
func (Emit) action()         {}
func (End) action()          {}

// Kind names what a Notice tells; the strings are the stable event names.
type Kind string

// The kinds of notices that the machine gives.
const (
	PeerUp      Kind = "peer_up"
	PeerSuspect Kind = "peer_suspect"
	PeerLate    Kind = "peer_late"
	PeerHung    Kind = "peer_hung"
	PeerDead    Kind = "peer_dead"
	PeerFenced  Kind = "peer_fenced"
	PeerStarted Kind = "peer_started"
	PeerSilent  Kind = "peer_silent"
	PeerLeft    Kind = "peer_left"
	PeerFailed  Kind = "peer_failed"
	Held        Kind = "held"
	Unheld      Kind = "unheld"
	Stopped     Kind = "stopped"
)

// Notice is an event for people and programs outside.
type Notice struct {
	Kind       Kind
	PID        int    // of the peer; 0: none or unknown
	Generation uint64 // of the peer; 0: unknown
	Reason     string
	After      time.Duration // on the PeerUp that ends an absence: how long it was
}
