package protocol

// Phase is where the guard stands with its peer.
type Phase uint8

// The phases. What is done in each stands beside it.
const (
	// Unbegun: the name is not ours yet; nothing is done.
	Unbegun Phase = iota
	// Seeking: nobody is known behind the peer's name. We dial it, and when
	// patience is over we start it.
	Seeking
	// Starting: a process is known that should become the peer and has not spoken
	// yet: we started it, or found it holding the name.
	Starting
	// Up: the peer speaks and is healthy.
	Up
	// Suspect: silent too long. It is probed; any sign of life brings it back Up.
	Suspect
	// Fencing: judged hung and killed; we wait for the proof that it is gone.
	Fencing
	// Reviving: proved dead. The folder is read once more, then it is started.
	Reviving
	// Waiting: proved dead; the next start is due later (backoff, a hold, a folder
	// that cannot be read).
	Waiting
	// Left: it announced its end. Nothing is started; if it returns we link again,
	// and if it returned and died before we met, it is started.
	Left
	// Ending: we are going, by a leave or a stop.
	Ending
	// Ended: we are gone; nothing happens any more.
	Ended
)

var phaseNames = [...]string{
	Unbegun: "unbegun", Seeking: "seeking", Starting: "starting", Up: "up", Suspect: "suspect", Fencing: "fencing",
	Reviving: "reviving", Waiting: "waiting", Left: "left", Ending: "ending", Ended: "ended",
}

func (p Phase) String() string { return phaseNames[p] }

// legal lists, for each phase, the phases that may follow. Step panics on any
// other transition: that is a defect of the machine, and a test walks every phase
// with every event to show that there is none.
var legal = map[Phase][]Phase{
	Unbegun:  {Seeking, Starting, Left, Ending},
	Seeking:  {Starting, Reviving, Left, Ending},
	Starting: {Up, Suspect, Fencing, Reviving, Left, Ending},
	Up:       {Suspect, Reviving, Left, Ending, Starting},
	Suspect:  {Up, Fencing, Reviving, Left, Ending, Starting},
	Fencing:  {Starting, Reviving, Ending},
	Reviving: {Starting, Waiting, Left, Ending},
	Waiting:  {Reviving, Starting, Ending},
	Left:     {Starting, Reviving, Ending},
	Ending:   {Ended},
	Ended:    {},
}
