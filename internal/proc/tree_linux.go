package proc

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Relies on: /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN, Linux 4.2 by
// default); PIDFD_SIGNAL_PROCESS_GROUP (6.9), without it kill(2) of the group; a
// number that is not given out again while it is that of a group or session.
//
// SIGSTOP and then SIGKILL, because a process that is killed at once hands its
// children to init before they can be read. A stopped one forks no more.

const (
	// stillness is how long Kill waits, altogether, for processes to stop.
	stillness = 100 * time.Millisecond
	stopPause = 200 * time.Microsecond
	// doubt is how long a group that has members is taken to be alive without
	// asking who they are: zombies that wait for init.
	doubt = 100 * time.Millisecond
)

// Tree is a program: a main process, started by Start, and everything that comes
// from it. What belongs to it:
//   - all that is in its cgroup, if it has one; nothing leaves that by itself;
//   - the process group of the main process;
//   - descendants of the main process that were seen by Survey or Kill, at a moment
//     when each link of the chain was alive.
//
// So without a cgroup a process can get away that makes a group of its own and
// loses its parent (a daemon's double fork) between two looks.
//
// Its methods are safe for concurrent use, but Kill may take 100 ms.
type Tree struct {
	id    ID
	main  *Handle // nil: it ended before
	group *Cgroup

	mu      sync.Mutex // guards what follows
	known   map[ID]struct{}
	doubted time.Time // since when the group has members after all others were gone
	closed  bool
}

// OpenTree returns the tree of main, which must have been started by Start, here or
// elsewhere, and of the cgroup it was born in, or nil. It keeps main's descriptor
// from being given back when main ends, so it costs none; close the tree before the
// handle.
func OpenTree(main *Handle, group *Cgroup) (*Tree, error) {
	main.keep()
	return &Tree{id: main.id, main: main, group: group, known: map[ID]struct{}{}}, nil
}

// OpenOrphans returns the tree of a main process that has ended: its cgroup, or
// nil, and its group as far as its number still tells. ErrElsewhere: the process
// was of another PID namespace. Of another boot nothing is left.
func OpenOrphans(main ID, group *Cgroup) (*Tree, error) {
	local, err := here()
	if err != nil {
		return nil, err
	}
	if main.BootID == local.BootID && main.PIDNamespace != local.PIDNamespace {
		return nil, fmt.Errorf("%v: %w", main, ErrElsewhere)
	}
	if main.BootID != local.BootID {
		main = ID{}
	}
	return &Tree{id: main, group: group, known: map[ID]struct{}{}}, nil
}

// Close gives the tree up. Nothing is ended.
func (t *Tree) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed && t.main != nil {
		t.main.letGo()
	}
	t.closed = true
}

// Survey looks for the descendants that live now, and remembers them. Best done
// right before the main process is asked to end.
func (t *Tree) Survey() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.survey(func(int, uint64) {})
}

// Known returns the descendants that are remembered and live, for a record.
func (t *Tree) Known() []ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetDead()
	ids := make([]ID, 0, len(t.known))
	for id := range t.known {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ID) int { return a.PID - b.PID })
	return ids
}

// Remember adds what another Tree knew, in this process or another.
func (t *Tree) Remember(ids []ID) {
	local, err := here()
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		if id.BootID == local.BootID && id.PIDNamespace == local.PIDNamespace && id.Start != 0 && id.PID > 0 {
			t.known[id] = struct{}{}
		}
	}
}

// Kill ends the whole tree by force, the main process as well. It waits up to 100
// ms for the processes to stop, not for their deaths: ask Alive, and Kill again
// while it says yes. The error tells of what may not be killed.
func (t *Tree) Kill() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var failed []error
	if t.group != nil {
		failed = append(failed, t.group.Kill())
	}
	deadline := time.Now().Add(stillness)
	failed = append(failed, t.survey(func(pid int, start uint64) { standStill(pid, start, deadline) }))
	if t.main != nil {
		failed = append(failed, t.main.Kill())
	}
	failed = append(failed, t.signalGroup(unix.SIGKILL))
	for id := range t.known {
		failed = append(failed, signalID(id, unix.SIGKILL))
	}
	return errors.Join(failed...)
}

// Alive reports whether anything of the tree is left. Zombies are dead, whoever
// fails to bury them. It may be asked every few milliseconds.
func (t *Tree) Alive() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.main != nil && !t.main.isDone() {
		return true
	}
	if t.group != nil {
		if populated, err := t.group.Populated(); populated || err != nil {
			return true
		}
	}
	if t.forgetDead(); len(t.known) > 0 {
		return true
	}
	return t.groupLives()
}

// Unburied reports whether the main process is dead and still shown by the kernel,
// since whoever is its parent has not waited for it: to a program that looks after
// the number in its pid file the process exists.
func (t *Tree) Unburied() bool {
	s, err := readStat(t.id.PID)
	return err == nil && s.start == t.id.Start && s.dead()
}

// forgetDead forgets descendants that are proved dead; mu is held.
func (t *Tree) forgetDead() {
	for id := range t.known {
		s, err := readStat(id.PID)
		if errors.Is(err, ErrGone) || err == nil && (s.start != id.Start || s.dead()) {
			delete(t.known, id)
		}
	}
}

// groupLives is Alive for the process group; mu is held. Members that wait for init
// to bury them are dead, but the kernel counts them, so a group that stays is
// looked at more closely.
func (t *Tree) groupLives() bool {
	if t.trySignalGroup(0) == unix.ESRCH {
		t.doubted = time.Time{}
		return false
	}
	now := time.Now()
	if t.doubted.IsZero() {
		t.doubted = now
	}
	if now.Sub(t.doubted) < doubt {
		return true
	}
	living := groupHasLiving(t.id.PID)
	if living {
		t.doubted = now // the next close look comes as late
	}
	return living
}

// signalGroup sends s to the process group; a group that is gone is no error.
func (t *Tree) signalGroup(s syscall.Signal) error {
	err := t.trySignalGroup(s)
	if err == nil || err == unix.ESRCH {
		return nil
	}
	return fmt.Errorf("cannot signal the process group of %v: %w", t.id, err)
}

// trySignalGroup returns ESRCH when the group is gone.
func (t *Tree) trySignalGroup(s syscall.Signal) error {
	if t.id.PID <= 1 {
		return unix.ESRCH
	}
	if t.main != nil {
		if err := t.main.signalGroup(s); err != unix.EINVAL && err != errors.ErrUnsupported {
			return err
		}
	}
	// The number of a group is given to no new process while the group exists.
	stat, err := readStat(t.id.PID)
	switch {
	case err == nil && stat.start != t.id.Start:
		return unix.ESRCH
	case err != nil && !errors.Is(err, ErrGone):
		return err
	}
	return unix.Kill(-t.id.PID, s)
}

// survey adds what descends from the main process and from what is known; calm is
// called with each of them before its children are read. mu is held.
func (t *Tree) survey(calm func(pid int, start uint64)) error {
	local, err := here()
	if err != nil {
		return err
	}
	var queue []ID
	if t.main != nil && !t.main.isDone() {
		queue = append(queue, t.id)
	}
	for id := range t.known {
		queue = append(queue, id)
	}
	for len(queue) > 0 {
		parent := queue[0]
		queue = queue[1:]
		calm(parent.PID, parent.Start)
		children, err := childrenOf(parent, local)
		if err != nil {
			return err
		}
		for _, child := range children {
			if _, ok := t.known[child]; !ok {
				t.known[child] = struct{}{}
				queue = append(queue, child)
			}
		}
	}
	return nil
}

// Children returns the children that the process has now; ErrGone when it is dead.
func (h *Handle) Children() ([]ID, error) {
	local, err := here()
	if err != nil {
		return nil, err
	}
	if h.isDone() {
		return nil, fmt.Errorf("%v: %w", h.id, ErrGone)
	}
	return childrenOf(h.id, local)
}

// childrenOf reads the children of all threads. A parent that is gone has none.
func childrenOf(parent, local ID) ([]ID, error) {
	folder := "/proc/" + strconv.Itoa(parent.PID) + "/task"
	tasks, err := os.ReadDir(folder)
	if err != nil {
		return nil, unlessOutOfReach(err)
	}
	var children []ID
	for _, task := range tasks {
		text, err := os.ReadFile(folder + "/" + task.Name() + "/children")
		if err != nil {
			if err := unlessOutOfReach(err); err != nil {
				return nil, err
			}
			continue
		}
		for _, number := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(number)
			if err != nil {
				continue
			}
			// A child whose number passed on to a stranger in between would be an
			// error for ever; so its parent is asked for together with its age.
			if start, ok := childStart(pid, parent.PID); ok {
				children = append(children, ID{BootID: local.BootID, PIDNamespace: local.PIDNamespace, PID: pid, Start: start})
			}
		}
	}
	// The list was that of the parent only if the parent is still itself.
	if s, err := readStat(parent.PID); err != nil || s.start != parent.Start {
		return nil, nil
	}
	return children, nil
}

// childStart returns the start time of a living process if it is a child of parent.
func childStart(pid, parent int) (uint64, bool) {
	fields, err := statFields(pid)
	if err != nil || len(fields) < 22 || fields[4-1] != strconv.Itoa(parent) || fields[3-1] == "X" {
		return 0, false
	}
	start, err := strconv.ParseUint(fields[22-1], 10, 64)
	return start, err == nil
}

// standStill stops the process and waits until none of its threads can fork.
func standStill(pid int, start uint64, deadline time.Time) {
	id := ID{PID: pid, Start: start}
	if signalID(id, unix.SIGSTOP) != nil {
		return
	}
	for !allStopped(pid, start) && time.Now().Before(deadline) {
		time.Sleep(stopPause)
	}
}

// allStopped reports whether every thread is stopped, traced or dead, or the
// process not there.
func allStopped(pid int, start uint64) bool {
	s, err := readStat(pid)
	if err != nil || s.start != start || s.dead() {
		return true
	}
	folder := "/proc/" + strconv.Itoa(pid) + "/task"
	tasks, err := os.ReadDir(folder)
	if err != nil {
		return true
	}
	for _, task := range tasks {
		s, err := readStatFile(folder + "/" + task.Name() + "/stat")
		if err == nil && !strings.ContainsRune("TtZXx", rune(s.state)) {
			return false
		}
	}
	return true
}

// signalID signals the process that id names; none is no error.
func signalID(id ID, signal syscall.Signal) error {
	s, err := readStat(id.PID)
	if errors.Is(err, ErrGone) || err == nil && (s.start != id.Start || s.dead()) {
		return nil
	}
	if err != nil {
		return err
	}
	pidfd := -1
	if pidfds() == nil {
		pidfd, _ = unix.PidfdOpen(id.PID, 0)
	}
	if pidfd >= 0 {
		defer unix.Close(pidfd)
		// Now the number cannot pass on unseen.
		if s, err := readStat(id.PID); err != nil || s.start != id.Start {
			return nil
		}
		err = unix.PidfdSendSignal(pidfd, signal, nil, 0)
	} else {
		err = unix.Kill(id.PID, signal)
	}
	switch err {
	case nil, unix.ESRCH:
		return nil
	}
	return fmt.Errorf("cannot signal %v: %w", id, err)
}

// groupHasLiving looks at every process of the machine for members of a group that
// are not dead. Not being able to look says yes.
func groupHasLiving(group int) bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return true
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fields, err := statFields(pid)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil || len(fields) < 20 {
			return true
		}
		dead := fields[3-1] == "X" || fields[3-1] == "Z" && fields[20-1] == "1"
		if fields[5-1] == strconv.Itoa(group) && !dead {
			return true
		}
	}
	return false
}
