package pairguard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
)

// ErrUnknownName is wrapped by the errors of [Folder] about a name that nobody
// has used in the folder.
var ErrUnknownName = errors.New("unknown name")

// Folder is the view of a person or a tool on the pairs that meet in one folder:
// it looks at members of other processes, stops and holds them. It never becomes
// a member. Safe for concurrent use.
type Folder struct {
	path string
	dir  *pairdir.Dir // nil: there is no such folder yet, so nobody is in it
}

// OpenFolder opens dir; "" is the default folder (see [Config.Dir]). A folder
// that does not exist is not made: it is simply empty.
func OpenFolder(dir string) (*Folder, error) {
	path, err := folderPath(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return &Folder{path: path}, nil
	}
	d, err := pairdir.Open(path)
	if err != nil {
		return nil, fmt.Errorf("pairguard: %w", err)
	}
	return &Folder{path: d.Path(), dir: d}, nil
}

func folderPath(dir string) (string, error) {
	if dir == "" {
		path, err := pairdir.Default()
		if err != nil {
			return "", fmt.Errorf("pairguard: the default folder is not known: %w", err)
		}
		return path, nil
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("pairguard: folder %s: %w: give an absolute path", dir, err)
	}
	return path, nil
}

// Path returns the absolute path of the folder.
func (f *Folder) Path() string { return f.path }

// Hold suspends judging and reviving of the named members (without names: of
// every known one) until d is over, and tells the members of their pairs. reason
// is for the event log. A hold that exists is replaced.
func (f *Folder) Hold(ctx context.Context, d time.Duration, reason string, names ...string) error {
	if d <= 0 {
		return fmt.Errorf("pairguard: hold for %v: it must be longer than zero", d)
	}
	return f.changeHolds(ctx, names, func(n pairdir.Name) error { return f.dir.StoreHold(n, d, reason) })
}

// Unhold ends the hold of the named members (without names: of every known one)
// and tells the members of their pairs. No hold is no error.
func (f *Folder) Unhold(ctx context.Context, names ...string) error {
	return f.changeHolds(ctx, names, func(n pairdir.Name) error { return f.dir.ClearHold(n) })
}

// changeHolds changes the record of each name and then makes both members of its
// pair read the folder again: the one that is held says so, its peer obeys.
func (f *Folder) changeHolds(ctx context.Context, names []string, change func(pairdir.Name) error) error {
	known, err := f.roster()
	if err != nil {
		return err
	}
	chosen, err := f.choose(known, names)
	if err != nil {
		return err
	}
	tell := map[string]pairdir.Name{}
	for _, e := range chosen {
		if err := change(e.name); err != nil {
			return fmt.Errorf("pairguard: hold of %s: %w", e.name, err)
		}
		tell[e.name.Key()], tell[e.peer.Key()] = e.name, e.peer
	}
	f.lookAll(ctx, tell)
	return nil
}

// Events returns what stands in the event logs of the folder, oldest first; with
// names, only the events that these members saw or that are about them. When
// lines cannot be read, the others are returned together with an error that says
// how many are missing.
func (f *Folder) Events(names ...string) ([]Event, error) {
	known, err := f.roster()
	if err != nil {
		return nil, err
	}
	chosen, err := f.choose(known, names)
	if err != nil || f.dir == nil {
		return nil, err
	}
	records, err := f.dir.Events()
	if err != nil {
		err = fmt.Errorf("pairguard: event log in %s: %w", f.path, err)
	}
	wanted := map[string]bool{}
	for _, e := range chosen {
		wanted[e.name.String()] = true
	}
	events := make([]Event, 0, len(records))
	for _, r := range records {
		if len(names) == 0 || wanted[r.Self] || wanted[r.Peer] {
			events = append(events, loggedEvent(r))
		}
	}
	return events, err
}

// Follow calls fn with every event of the folder's logs, those that stand there
// already first, then each new one soon after it happened, until ctx ends; then
// it returns nil. An error says that the folder cannot be read; one that does not
// exist is made. fn runs on the caller's goroutine.
func (f *Folder) Follow(ctx context.Context, fn func(Event)) error {
	dir := f.dir
	if dir == nil {
		// Whoever follows wants to see the first pair being started.
		var err error
		if dir, err = pairdir.Open(f.path); err != nil {
			return fmt.Errorf("pairguard: %w", err)
		}
	}
	return dir.Follow(ctx, func(r pairdir.Record) { fn(loggedEvent(r)) })
}

func loggedEvent(r pairdir.Record) Event {
	e := Event{
		Time: r.Time, Kind: EventKind(r.Event), Self: r.Self, Peer: r.Peer,
		PeerPID: r.PeerPID, Generation: r.Generation, Reason: r.Reason, Program: r.Program, PID: r.PID,
	}
	if r.AfterMS != nil {
		e.After = time.Duration(*r.AfterMS * float64(time.Millisecond))
	}
	return e
}
