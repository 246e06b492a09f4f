package lifecycle

// Action is something that the driver has to do, in the order given. What takes time runs aside and reports back as an Event. The
// set is sealed.
type Action interface{ action() }

type (
	// KeepIntent makes sure that whoever takes over has the Record as it is now: IntentKept or IntentFailed follows. One that is not
	// wanted any more when it is kept has been closed by a later Record, and is not answered by a Fork.
	KeepIntent struct{ Gen uint64 }
	// Fork starts the program, marked with the generation: Started or StartFailed follows.
	Fork struct{ Gen uint64 }
	// Resolve finds out what became of an open intent: Resolved follows.
	Resolve struct{ Gen uint64 }
	// Signal sends the signal of that name, without SIG, to the main process: Signaled follows. One that is dead swallows it.
	Signal struct {
		Gen  uint64
		Name string
	}
	// Kill ends the main process by force.
	Kill struct{ Gen uint64 }
	// EndTree ends by force whatever is left of the tree of processes, until TreeGone. Asked again: it goes on.
	EndTree struct{ Gen uint64 }
	// Note tells people.
	Note struct {
		Kind   Kind
		Gen    uint64 // 0: there was no life yet
		Reason string
	}
)

func (KeepIntent) action() {}
func (Fork) action()       {}
func (Resolve) action()    {}
func (Signal) action()     {}
func (Kill) action()       {}
func (EndTree) action()    {}
func (Note) action()       {}

// Kind names what a Note tells; the strings are the stable event names.
type Kind string

// The kinds of notes.
const (
	NoteStarted  Kind = "program_started"
	NoteAdopted  Kind = "program_adopted"
	NoteExited   Kind = "program_exited"
	NoteBackoff  Kind = "program_backoff"
	NoteStopping Kind = "program_stopping"
	NoteStopped  Kind = "program_stopped"
	NoteFailed   Kind = "program_failed"
	NoteHeld     Kind = "program_held"
	NoteUnheld   Kind = "program_unheld"
)
