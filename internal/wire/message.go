package wire

import "time"

// A Message is one line: Hello, Beat, Bye, Look, Status, Refused or Unknown, always as a value, never as a pointer.
type Message interface{ message() }

// Hello is the first line of a link in both directions: the dialler speaks first, the listener answers in kind on the same
// connection (protocol.md §4.1).
type Hello struct {
	Version    int    // 1 or more; when it is not [Version], all other fields hold what could be read and may be zero
	Self       string // the speaker's name, as [WireName] gives it
	Peer       string // the name that the speaker guards
	PID        int    // the speaker's process id as it sees it itself, 1 or more; the kernel's word decides, this one is for people
	Generation uint64 // which life of the name Self this is
	Heartbeat  time.Duration
	Healthy    bool
}

// Beat is the heartbeat (protocol.md §4.2).
type Beat struct {
	Seq     uint64        // counts the beats of one link
	Healthy bool          // what the application's liveness says; true when none is used
	Age     time.Duration // since the application's last sign of life, in whole milliseconds; 0 when liveness is not used
	Reason  string        // why it is not healthy, for people; any bytes, may be empty
}

// GoodbyeKind says who ends: one process or the pair.
type GoodbyeKind int

// The two announced ends.
const (
	Leave GoodbyeKind = iota + 1 // one process ends and is not to be revived
	Stop                         // the pair ends
)

// String is the kind's word in a line: "leave" or "stop", and "unknown" for anything else.
func (k GoodbyeKind) String() string {
	switch k {
	case Leave:
		return "leave"
	case Stop:
		return "stop"
	}
	return "unknown"
}

// Bye announces an end that is stored already (protocol.md §4.3).
type Bye struct {
	Kind   GoodbyeKind
	Reason string // for people; any bytes, may be empty
}

// Look asks the receiver to read the folder again, because something there has changed; a listener answers with Status
// (protocol.md §4.4).
type Look struct{}

// Status answers Look (protocol.md §4.5).
type Status struct {
	Version    int
	Self       string
	PID        int // 1 or more
	Peer       string
	PeerPID    int    // 0: not known, then the line has no peer_pid=
	Phase      string // one of the protocol machine's phases; at most 32 bytes as encoded
	Plain      bool   // the peer is a plain peer
	GuardsHang bool   // a hang of the peer would be noticed, not only its death
	Generation uint64 // of Self
	Revived    uint64 // how often the speaker has revived its peer
	Held       time.Duration
}

// Refused is the listener's answer to a Hello that it does not accept; it closes the connection after it (protocol.md §4.6).
type Refused struct {
	Reason string // for people; any bytes, may be empty
}

// Unknown is a line whose meaning is not known here; receivers ignore it (protocol.md §9).
type Unknown struct {
	Word string // its first word, bytes that are not printable ASCII shown as %XX
}

func (Hello) message()   {}
func (Beat) message()    {}
func (Bye) message()     {}
func (Look) message()    {}
func (Status) message()  {}
func (Refused) message() {}
func (Unknown) message() {}
