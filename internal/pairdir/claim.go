package pairdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// Errors that callers act on; errors.Is finds them.
var (
	// ErrNotHeld: this process does not hold the name.
	ErrNotHeld = errors.New("not held")
	// ErrLost: another process became holder of a name that this one held.
	ErrLost = errors.New("name lock lost to another process")
)

// TakenError reports that a name has a living holder.
type TakenError struct {
	Name string
	PID  int // the holder; 0: it cannot be seen from here (another PID namespace)
}

// Error names the holder and what to do.
func (e *TakenError) Error() string {
	switch e.PID {
	case 0:
		return fmt.Sprintf("name %s: taken by a process that cannot be seen from here; end it or choose another name", e.Name)
	case os.Getpid():
		return fmt.Sprintf("name %s: taken by this very process (%d); choose another name", e.Name, e.PID)
	}
	return fmt.Sprintf("name %s: taken by process %d; end it or choose another name", e.Name, e.PID)
}

// heldError is what the locks report: somebody holds it.
type heldError struct{ pid int }

func (e *heldError) Error() string { return fmt.Sprintf("held by process %d", e.pid) }

const (
	// claimTries bounds starting again because the lock file was replaced.
	claimTries = 50
	claimPause = time.Millisecond
	// intruderLimit is how long another process may hold the lock file of a name
	// whose abstract socket is ours: a claimer lets go after tetherRetry, so that
	// one that does not is a holder.
	intruderLimit = 10 * time.Second
)

// errReplaced: the lock file is another one than the one that was locked.
var errReplaced = errors.New("the lock file was replaced meanwhile")

// Claim is this process being the holder of a name. It ends with Release or with
// the process. Safe for concurrent use.
type Claim struct {
	dir  *Dir
	name Name

	mu       sync.Mutex // guards the fields that follow
	lock     *fileLock
	tether   *tether // nil: gone on without
	note     string  // why there is no tether; empty when there is one
	released bool
	intruder heldError // who holds our lock file's successor,
	since    time.Time // and since when; zero: nobody
}

// Claim makes this process the holder of n. It returns a *TakenError when some
// process is, this one included. It waits at most about 1 s, and only when the
// lock file is free but something else is in the way.
//
// Order: lock file, abstract socket, then a look whether the path still leads to
// the file that was locked. Dying at any point frees all of it.
func (d *Dir) Claim(n Name) (*Claim, error) {
	entry, err := claims.enter(d.file(n, ".lock"))
	if err != nil {
		return nil, &TakenError{Name: n.text, PID: os.Getpid()}
	}
	c, err := d.claim(n)
	claims.settle(entry, c)
	if err != nil {
		return nil, err
	}
	d.tidy()
	d.fillReserves(n.key)
	return c, nil
}

func (d *Dir) claim(n Name) (*Claim, error) {
	var c *Claim
	var err error
	for range claimTries {
		c, err = d.claimOnce(n)
		if err == nil {
			return c, nil
		}
		var held *heldError
		if errors.As(err, &held) {
			return nil, &TakenError{Name: n.text, PID: held.pid}
		}
		if !errors.Is(err, errReplaced) {
			return nil, fmt.Errorf("name %s: %w", n.text, err)
		}
		time.Sleep(claimPause)
	}
	return nil, fmt.Errorf("name %s: again and again %w; find out who does that to %s", n.text, err, d.path)
}

func (d *Dir) claimOnce(n Name) (*Claim, error) {
	_, err := d.ensure()
	if err != nil {
		return nil, vanished(err)
	}
	lock, err := lockFile(d.file(n, ".lock"))
	if err != nil {
		return nil, vanished(err)
	}
	t, note, err := holdTether(d.path, n.key, tetherRetry)
	if err != nil {
		lock.release()
		return nil, err
	}
	if !lock.inPlace() {
		t.release()
		lock.release()
		return nil, errReplaced
	}
	return &Claim{dir: d, name: n, lock: lock, tether: t, note: note}, nil
}

// vanished turns the error of a folder that was removed between two steps into a
// reason to start again.
func vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (%w)", errReplaced, err)
	}
	return err
}

// Notes says, in words for a person, what protects this claim less than it
// should; empty when everything is there.
func (c *Claim) Notes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.note == "" {
		return nil
	}
	return []string{c.note}
}

// Check makes sure that this process still is the holder and puts back what was
// removed: the folder, the lock file, the abstract socket. healed says what, in
// words. ErrLost: another process is holder now, and this one must give way. Any
// other error is a failure to heal; the claim stands as well as it did, and
// Check is to be called again. To be called every few seconds; it does not wait.
func (c *Claim) Check() (healed []string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return nil, fmt.Errorf("name %s: %w any more by this process", c.name.text, ErrNotHeld)
	}
	made, err := c.dir.ensure()
	if err != nil {
		return nil, err
	}
	if made {
		healed = append(healed, "folder "+c.dir.path+" made again")
	}
	again, err := c.checkLock()
	if again {
		healed = append(healed, "lock file "+c.lock.path+" made again")
	}
	if err != nil {
		return healed, err
	}
	if c.tether == nil || !c.tether.intact() {
		if c.retether() {
			healed = append(healed, "abstract socket of name "+c.name.text+" held again")
		}
	}
	c.dir.fillReserves(c.name.key)
	return healed, nil
}

// checkLock locks the file that is at the path now, if it is another one.
func (c *Claim) checkLock() (healed bool, err error) {
	if c.lock.inPlace() {
		err = c.lock.again()
	} else {
		var lock *fileLock
		if lock, err = lockFile(c.lock.path); err == nil {
			c.lock.release()
			c.lock, healed = lock, true
		}
	}
	var held *heldError
	switch {
	case err == nil:
		c.since = time.Time{}
		return healed, nil
	case errors.As(err, &held):
		return false, c.meet(*held)
	}
	return false, fmt.Errorf("name %s: %w", c.name.text, err)
}

// meet judges another process that holds our lock file. While the abstract
// socket is ours it can only be a claimer that will be turned away.
func (c *Claim) meet(other heldError) error {
	now := time.Now()
	if c.since.IsZero() || c.intruder != other {
		c.intruder, c.since = other, now
	}
	if c.tether != nil && c.tether.intact() && now.Sub(c.since) < intruderLimit {
		return nil
	}
	return fmt.Errorf("name %s: %w (%d); end one of the two", c.name.text, ErrLost, other.pid)
}

func (c *Claim) retether() bool {
	if c.tether != nil {
		c.tether.release()
		c.tether = nil
	}
	t, note, err := holdTether(c.dir.path, c.name.key, 0)
	if err != nil {
		// Ours by lock file: whoever has the socket will find that out by itself.
		note = fmt.Sprintf("abstract socket of name %s: %v; held by lock file alone", c.name.text, err)
	}
	c.tether, c.note = t, note
	return t != nil
}

// Release gives the name up, for good. The lock file stays.
func (c *Claim) Release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return fmt.Errorf("name %s: %w any more by this process", c.name.text, ErrNotHeld)
	}
	c.released = true
	c.tether.release()
	c.lock.release()
	claims.leave(c.dir.file(c.name, ".lock"))
	return nil
}

// RemoveStaleSocket removes the socket that a dead holder left behind, so that
// the name can be listened on. It refuses to remove anything that is not a
// socket, and an address outside the folder on which somebody listens: a plain
// peer holds no lock (*TakenError).
func (c *Claim) RemoveStaleSocket() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return fmt.Errorf("name %s: %w any more by this process", c.name.text, ErrNotHeld)
	}
	return c.removeSocket()
}
