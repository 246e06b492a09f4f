package pairguard

import (
	"encoding/json"
	"time"
)

// EventKind says what happened. The set is fixed; fields may be added to [Event].
type EventKind string

// What can happen, in the order in which it usually does.
const (
	Listening   EventKind = "listening"    // the name is ours and we listen; Reason tells of what this system lacks or what was healed
	PeerUp      EventKind = "peer_up"      // the peer gave its first sign of life, or spoke again after being suspect
	PeerSuspect EventKind = "peer_suspect" // silent for longer than the timeout; not yet judged
	PeerLate    EventKind = "peer_late"    // silent, but it had no chance to speak, or nobody can tell; not judged, or not yet
	PeerHung    EventKind = "peer_hung"    // judged: it had the chance to speak and did not
	PeerDead    EventKind = "peer_dead"    // its death is proved, and it was not announced
	PeerFenced  EventKind = "peer_fenced"  // a hung peer was killed and its death is proved
	PeerStarted EventKind = "peer_started" // a new process was started for the peer's name
	PeerSilent  EventKind = "peer_silent"  // it was started and has not spoken: guarded against death only
	PeerLeft    EventKind = "peer_left"    // it announced its end; it will not be started again
	PeerFailed  EventKind = "peer_failed"  // it could not be started or talked to; Reason says why, and it is tried again
	Held        EventKind = "held"         // a person suspended judging and reviving
	Unheld      EventKind = "unheld"       // and allowed them again, or the hold expired
	Stopped     EventKind = "stopped"      // this member has ended, by a leave or a stop
)

// Event is one thing that happened to the pair, seen from one member.
type Event struct {
	Time       time.Time
	Kind       EventKind
	Self, Peer string
	PeerPID    int    // 0: none or unknown
	Generation uint64 // of the peer; 0: unknown
	Reason     string // in words for a person; may be empty
	// After is, on the PeerUp that ends an absence, the time from noticing the
	// death to the new peer's first sign of life; otherwise 0.
	After time.Duration
	// Program names the program under guard that it happened to, empty for what
	// happened to the pair; PID is its process then, 0: none.
	Program string
	PID     int
}

// eventJSON is the stable form of an Event; fields are added, never renamed.
type eventJSON struct {
	Time       string    `json:"time"`
	Event      EventKind `json:"event"`
	Self       string    `json:"self"`
	Peer       string    `json:"peer"`
	PeerPID    int       `json:"peer_pid,omitempty"`
	Generation uint64    `json:"generation,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	AfterMS    *float64  `json:"after_ms,omitempty"`
	Program    string    `json:"program,omitempty"`
	PID        int       `json:"pid,omitempty"`
}

// MarshalJSON gives the one-line form that `pairguard guard --json` prints.
func (e Event) MarshalJSON() ([]byte, error) {
	j := eventJSON{
		Time: e.Time.Format(time.RFC3339Nano), Event: e.Kind, Self: e.Self, Peer: e.Peer,
		PeerPID: e.PeerPID, Generation: e.Generation, Reason: e.Reason, Program: e.Program, PID: e.PID,
	}
	j.AfterMS = e.afterMS()
	return json.Marshal(j)
}

// afterMS is After as the outputs give it: milliseconds, nothing when it is 0.
func (e Event) afterMS() *float64 {
	if e.After <= 0 {
		return nil
	}
	ms := float64(e.After.Microseconds()) / 1000
	return &ms
}
