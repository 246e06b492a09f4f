package control

import "context"

// The names of the members and of the lock that make a process a supervisor; the
// control socket is where the holder of Active listens. No program may be called so.
const (
	Active = "supervisor"
	First  = "supervisor.1"
	Second = "supervisor.2"
)

// Handler is the active supervisor as its clients see it. Its methods run at the
// same time as each other; ctx ends when the client has gone or the server ends. A
// wish that was accepted stands, whatever becomes of ctx after it. All of them may
// be repeated. Definitions and names have been checked for their form. An error that
// is no *Error reaches the client with [CodeFailed].
type Handler interface {
	// Up defines and starts programs; those that are there already and differ are
	// changed, and restarted only if they must be (NeedsRestart).
	// It answers when each was started or could not be.
	Up(ctx context.Context, p UpParams) (Changes, error)
	// Run defines and starts one program whose name is not that of a live one (else
	// CodeTaken). It answers when it was started or could not be.
	Run(ctx context.Context, p RunParams) (RunResult, error)
	// Start starts programs that are not running; it ends their backoff.
	Start(ctx context.Context, p NamesParams) (Changes, error)
	// Stop ends programs with everything that they started, and answers when nothing of them is left.
	Stop(ctx context.Context, p StopParams) (Changes, error)
	// Restart ends programs as Stop does and starts them again; it answers when each
	// was started or could not be.
	Restart(ctx context.Context, p RestartParams) (Changes, error)
	Hold(ctx context.Context, p HoldParams) (Changes, error)
	Unhold(ctx context.Context, p NamesParams) (Changes, error)
	// Status answers at once.
	Status(ctx context.Context, p NamesParams) (Status, error)
	// Wait answers when the program is not live and will not be started by itself.
	Wait(ctx context.Context, p WaitParams) (WaitResult, error)
	// Down ends and forgets all programs, and then the supervisors. It answers when
	// nothing of the programs is left, before the supervisors end.
	Down(ctx context.Context, p DownParams) (Changes, error)
}

// Parameters.
type (
	// NamesParams name programs; no names are all programs.
	NamesParams struct {
		Names []string `json:"names,omitempty"`
	}
	// UpParams define programs.
	UpParams struct {
		Programs []Definition `json:"programs"`
		// Inherit is that of all Programs which have none of their own.
		Inherit []string `json:"inherit,omitempty"`
		// Prune: programs that are not among these are ended and forgotten.
		Prune bool `json:"prune,omitempty"`
	}
	// RunParams define one program.
	RunParams struct {
		Program Definition `json:"program"`
		// Request is chosen by the client, the same in each repetition and used for
		// nothing else: by it a repeated run is told from another one of that name. It
		// is kept with the program.
		Request string `json:"request"`
	}
	// StopParams name programs to end; no names are all programs.
	StopParams struct {
		Names []string `json:"names,omitempty"`
		// Now: by force and without grace.
		Now bool `json:"now,omitempty"`
	}
	// RestartParams name programs and their lives that are to be ended.
	RestartParams struct {
		Programs []Life `json:"programs"`
	}
	// Life is one life of a program.
	Life struct {
		Name string `json:"name"`
		// Generation is the one that is to be ended: if the program is in a later one
		// it has been restarted already.
		Generation uint64 `json:"generation"`
	}
	// HoldParams name programs that are not to be started again for a while.
	HoldParams struct {
		Names  []string `json:"names,omitempty"`
		For    Duration `json:"for"`
		Reason string   `json:"reason,omitempty"`
	}
	// WaitParams name the program to wait for.
	WaitParams struct {
		Name string `json:"name"`
	}
	// DownParams is empty.
	DownParams struct{}
)

// What was done about a program, in [Change].
const (
	DidAdd       = "added"     // it was not known; it was started
	DidChange    = "changed"   // it goes on, by other rules
	DidRestart   = "restarted" // its old process is gone, there is a new one
	DidStart     = "started"
	DidStop      = "stopped" // it ended within its grace
	DidKill      = "killed"  // it was ended by force
	DidHold      = "held"
	DidUnhold    = "unheld"
	DidNothing   = "unchanged" // it was so already
	DidRemove    = "removed"   // it was ended and forgotten
	CouldNotDo   = "failed"    // Reason says why
	CannotFinish = "waiting"   // it could not be started yet and is tried again; Reason says why
)

// Results.
type (
	// Changes say what became of each program, in the order of their names.
	Changes struct {
		Programs []Change `json:"programs"`
	}
	// Change is what became of one program.
	Change struct {
		Name string `json:"name"`
		Did  string `json:"did"`
		// PID is that of the running process, after a stop of the one that ended; 0: none.
		PID        int    `json:"pid"`
		Generation uint64 `json:"generation"`
		// Reason explains CouldNotDo and CannotFinish.
		Reason string `json:"reason,omitempty"`
	}
	// RunResult describes the program that now runs.
	RunResult struct {
		Name       string `json:"name"`
		PID        int    `json:"pid"` // 0: it could not be started yet, Reason says why
		Generation uint64 `json:"generation"`
		Reason     string `json:"reason,omitempty"`
		// Log is the file that its output goes to.
		Log string `json:"log"`
	}
	// WaitResult is how a program ended.
	WaitResult struct {
		State    string `json:"state"`
		LastExit *Exit  `json:"last_exit"` // nil: it never ran
		Reason   string `json:"reason,omitempty"`
	}
)
