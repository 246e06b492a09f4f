package lifecycle

import "time"

// Event is something that happened outside. The set is sealed. Events that name a generation other than the present one, or that
// answer nothing, change nothing.
type Event interface{ event() }

// What people want.
type (
	// Start: it shall run. It begins a new past: the restart budget is full.
	Start struct{}
	// Stop: it shall not run. Now: by force, without a stop signal; also when a stop is under way already.
	Stop struct{ Now bool }
	// Restart: it shall run, in a life that begins after this. Gen, when not 0, is the life that is to end: a request that is repeated
	// after it was carried out names another one than the present, and is no more than a Start.
	Restart struct{ Gen uint64 }
	// Hold: For so long it is not started without being asked. What runs goes on; a start that a person asks for is made all the same.
	// Not positive: nothing.
	Hold struct{ For time.Duration }
	// Unhold ends a hold.
	Unhold struct{}
	// Redefine: it is to be treated so from now on. Changed: command, environment or folder differ, so that what runs has to be
	// restarted; it is still stopped as the policy before had it.
	Redefine struct {
		Policy  Policy
		Changed bool
	}
)

// What the driver tells.
type (
	// Begin comes first after Restore, once.
	Begin struct {
		// FromDisk: nobody held handles on the program since whoever stored the record died; people are told that it was adopted.
		FromDisk bool
		// Found is the generation of the living main process of this program that was found by its marker, and whose marker is not that of
		// the record or is that of an open intent; 0: none was looked for, or there is none. It counts for more than the record: one of
		// another generation shows that the program was wanted after what the record tells.
		Found uint64
	}
	// IntentKept answers KeepIntent: whoever takes over knows of the intent.
	IntentKept struct{ Gen uint64 }
	// IntentFailed answers KeepIntent: nobody but us knows of it.
	IntentFailed struct {
		Gen    uint64
		Reason string
	}
	// Started answers Fork: there is a process, and a handle on it.
	Started struct{ Gen uint64 }
	// StartFailed answers Fork: there is no process, nor was there one that ran a single instruction of the program.
	StartFailed struct {
		Gen    uint64
		Reason string
	}
	// Resolved answers Resolve. It comes only when no process of the one who died is on its way between fork and exec any more.
	Resolved struct {
		Gen   uint64
		Found bool // its main process lives, and there is a handle on it
		Ran   bool // it has run and ended: something of its tree lives, or another trace is left (in its cgroup); not with Found
	}
	// Signaled: what Signal asked for was done. Without it a successor sends the signal once more.
	Signaled struct{ Gen uint64 }
	// Ended: the main process is proved dead. It follows Started or Resolved.
	Ended struct {
		Gen      uint64
		Exit     Exit
		TreeGone bool // and nothing else of its tree lives: EndTree is not needed
	}
	// TreeGone answers EndTree: nothing of it lives any more.
	TreeGone struct{ Gen uint64 }
	// Tick: the Deadline has passed.
	Tick struct{}
)

func (Start) event()        {}
func (Stop) event()         {}
func (Restart) event()      {}
func (Hold) event()         {}
func (Unhold) event()       {}
func (Redefine) event()     {}
func (Begin) event()        {}
func (IntentKept) event()   {}
func (IntentFailed) event() {}
func (Started) event()      {}
func (StartFailed) event()  {}
func (Resolved) event()     {}
func (Signaled) event()     {}
func (Ended) event()        {}
func (TreeGone) event()     {}
func (Tick) event()         {}
