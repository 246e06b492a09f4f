package pairguard

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/wire"
)

// Environment of a revived peer, beside the folder's variable.
const revivalVariable = "PAIRGUARD_REVIVAL"

// A lock is free within moments of its holder's death; a holder that is not found
// for longer is a matter for a person, and for the next survey.
const (
	lockTries  = 200
	lockSettle = time.Millisecond
)

// host is the operating system as the loop needs it. Every method may block for
// as long as a disk does, so the loop calls them aside.
type host interface {
	// dial connects to the peer's address; errors.Is ipc.ErrAbsent: nobody listens.
	dial(ctx context.Context) (*ipc.Conn, error)
	// survey reads the folder and the peer's name lock.
	survey(known *processes) protocol.Survey
	// remarks are what the surveys found that a person should know, each once.
	remarks() []string
	// spawn starts the peer; notes say what did not go as it should have.
	spawn() (h *proc.Handle, notes []string, err error)
	// dump makes a hung peer say what it was doing, keeps that, and says where.
	dump(h *proc.Handle) string
	// storeGoodbye stores our leave or the pair's stop.
	storeGoodbye(kind wire.GoodbyeKind, reason string) error
	// stopped tells whether the pair's stop is stored: who stored it may have died
	// before it could say so.
	stopped() bool
	// heal puts back what was removed of ours, and says what; an error means that
	// the name is not ours any more.
	heal() (healed []string, err error)
	// holds returns nil if that process holds the peer's name.
	holds(pid int) error
	pid() int
	generation() uint64
}

// realHost is this machine. Safe for concurrent use.
type realHost struct {
	settings   settings
	dir        *pairdir.Dir
	self, peer pairdir.Name
	claim      *pairdir.Claim
	me         proc.ID
	life       pairdir.Life
	ears       *ears

	starts starts

	mu       sync.Mutex // guards what follows
	unsaid   []string   // remarks that nobody has fetched
	remarked map[string]bool
}

func (h *realHost) pid() int           { return h.me.PID }
func (h *realHost) generation() uint64 { return h.life.Generation }

func (h *realHost) dial(ctx context.Context) (*ipc.Conn, error) {
	return ipc.Dial(ctx, h.peer.Address())
}

func (h *realHost) survey(known *processes) protocol.Survey {
	s, err := h.readFolder(known)
	if err != nil {
		return protocol.Survey{Err: err.Error()}
	}
	return s
}

// readFolder reads who is there first and what was announced after that: a process
// that ends in between has stored its goodbye before its lock was free.
func (h *realHost) readFolder(known *processes) (s protocol.Survey, err error) {
	if err := h.readHolder(known, &s); err != nil {
		return s, err
	}
	spawned, err := h.readSpawned()
	if err != nil {
		return s, err
	}
	if spawned != nil {
		s.Recorded = known.add(spawned)
	}
	return s, h.readRecords(&s)
}

func (h *realHost) readRecords(s *protocol.Survey) error {
	stop, stopped, err := h.dir.ReadStop(h.self, h.peer)
	if err != nil {
		return err
	}
	leave, left, err := h.dir.ReadLeave(h.peer)
	if err != nil {
		return err
	}
	h.remark(stop.Damaged)
	h.remark(leave.Damaged)
	s.Stopped, s.StopReason, s.PeerLeft = stopped, stop.Reason, left
	if s.HeldFor, s.HoldReason, err = h.dir.ReadHold(h.peer); err != nil && !h.damaged(err) {
		return err
	}
	life, _, err := h.dir.ReadLife(h.peer)
	if err != nil && !h.damaged(err) {
		return err
	}
	s.Generation = life.Generation
	if s.Speaks, err = h.dir.BecameLife(h.peer, h.command()); err != nil && !h.damaged(err) {
		return err
	}
	return nil
}

// readHolder opens the process that holds the peer's name. It is asked twice: a
// process number that was used again in between cannot hold the lock too.
func (h *realHost) readHolder(known *processes, s *protocol.Survey) error {
	for try := 0; ; try++ {
		holder, err := h.dir.Holder(h.peer)
		if err != nil || !holder.Held {
			return err
		}
		if try == lockTries {
			return fmt.Errorf("process %d holds %s and cannot be found: look whether it is there, and end it", holder.PID, h.peer)
		}
		if holder.PID == 0 {
			s.HolderUnseen = true
			return nil
		}
		process, err := proc.Open(holder.PID)
		if errors.Is(err, proc.ErrGone) {
			time.Sleep(lockSettle) // it is dying: the lock is freed next
			continue
		}
		if err != nil {
			return fmt.Errorf("process %d holds %s but cannot be watched: %w", holder.PID, h.peer, err)
		}
		again, err := h.dir.Holder(h.peer)
		if err == nil && again == holder {
			s.Holder = known.add(process)
			return nil
		}
		process.Close()
	}
}

// damaged: the record was unreadable and has been set aside, which a person is
// told; without it we know less, but nothing wrong.
func (h *realHost) damaged(err error) bool {
	var d *pairdir.DamagedError
	if !errors.As(err, &d) {
		return false
	}
	h.remark(d)
	return true
}

// remark keeps something for the next who fetches remarks, once.
func (h *realHost) remark(err error) {
	if err == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if text := err.Error(); !h.remarked[text] && len(h.remarked) < mostRemarks {
		if h.remarked == nil {
			h.remarked = map[string]bool{}
		}
		h.remarked[text] = true
		h.unsaid = append(h.unsaid, text)
	}
}

// mostRemarks bounds what somebody who damages files in a loop can make us say.
const mostRemarks = 100

func (h *realHost) remarks() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.unsaid
	h.unsaid = nil
	return all
}

// spawn records the intent, starts the peer and records what was started, so that
// whoever comes after us knows of it. A record that cannot be written does not
// keep the peer down: its name lock still keeps it single.
func (h *realHost) spawn() (child *proc.Handle, notes []string, err error) {
	next := h.nextGeneration()
	record := pairdir.Spawn{
		Token: pairdir.NewToken(next), By: h.me, Generation: next, Time: time.Now(), Command: h.command(),
	}
	if err := h.record(record); err != nil {
		notes = append(notes, "the start of "+h.peer.String()+" could not be recorded: "+err.Error())
	}
	output, err := h.dir.OpenOutput(h.peer)
	if err != nil {
		notes = append(notes, "the output of "+h.peer.String()+" is thrown away: "+err.Error())
	} else {
		defer output.Close()
	}
	dir, note := h.workDir()
	if note != "" {
		notes = append(notes, note)
	}
	child, err = proc.Start(proc.Spec{
		Path: h.settings.executable, Args: h.settings.Command[1:], Dir: dir,
		Env: h.childEnv(record.Token), Output: output,
	})
	if err != nil {
		return nil, notes, err
	}
	id := child.ID()
	record.Process = &id
	if err := h.record(record); err != nil {
		notes = append(notes, "the start of "+h.peer.String()+" could not be recorded: "+err.Error())
	}
	return child, notes, nil
}

// workDir is where the peer is started, and what has to be said of that.
func (h *realHost) workDir() (dir, note string) {
	if _, err := os.Stat(h.settings.WorkDir); !errors.Is(err, fs.ErrNotExist) {
		return h.settings.WorkDir, ""
	}
	return rootFolder(), "the working directory " + h.settings.WorkDir + " is gone: " + h.peer.String() + " is started in " + rootFolder()
}

// command tells the peer's command from others in the record of a start.
func (h *realHost) command() string {
	sum := fnv.New64a()
	for _, word := range append([]string{h.settings.executable}, h.settings.Command[1:]...) {
		sum.Write(append([]byte(word), 0))
	}
	return strconv.FormatUint(sum.Sum64(), 16)
}

// nextGeneration is that of the life which a start now begins; 0: not known.
func (h *realHost) nextGeneration() uint64 {
	life, found, err := h.dir.ReadLife(h.peer)
	if h.damaged(err) || err != nil {
		return 0
	}
	if !found {
		return 1
	}
	return life.Generation + 1
}

func (h *realHost) childEnv(token string) []string {
	env := make([]string, 0, len(h.settings.Env)+2)
	for _, v := range h.settings.Env {
		if !strings.HasPrefix(v, revivalVariable+"=") && !strings.HasPrefix(v, pairdir.Variable+"=") {
			env = append(env, v)
		}
	}
	return append(env, pairdir.Variable+"="+h.dir.Path(), revivalVariable+"="+token)
}

func (h *realHost) storeGoodbye(kind wire.GoodbyeKind, reason string) error {
	goodbye := pairdir.Goodbye{
		Name: h.self.String(), Peer: h.peer.String(),
		Generation: h.life.Generation, Process: h.me, Reason: reason,
	}
	if kind == wire.Stop {
		return h.dir.StoreStop(h.self, h.peer, goodbye)
	}
	goodbye.SessionEnd = proc.SessionEnds()
	return h.dir.StoreLeave(h.self, goodbye)
}

func (h *realHost) stopped() bool {
	_, stopped, err := h.dir.ReadStop(h.self, h.peer)
	return stopped && err == nil
}

func (h *realHost) heal() ([]string, error) {
	healed, err := h.claim.Check()
	if errors.Is(err, pairdir.ErrLost) {
		return healed, err
	}
	if err != nil {
		return append(healed, "the name lock cannot be looked after: "+err.Error()), nil
	}
	switch restored, err := h.dir.RestoreLife(h.self, h.life); {
	case err != nil:
		healed = append(healed, "the life record was removed and cannot be stored again: "+err.Error())
	case restored:
		healed = append(healed, "the life record was removed: stored again")
	}
	switch restored, err := h.restoreSpawned(); {
	case err != nil:
		healed = append(healed, "the record of what was started was removed and cannot be stored again: "+err.Error())
	case restored:
		healed = append(healed, "the record of what was started was removed: stored again")
	}
	again, err := h.ears.reopen()
	switch {
	case err != nil:
		healed = append(healed, "the socket was removed and cannot be made again: "+err.Error())
	case again:
		healed = append(healed, "the socket was removed: listening again")
	}
	return healed, nil
}

func (h *realHost) holds(pid int) error {
	holder, err := h.dir.Holder(h.peer)
	switch {
	case err != nil:
		return fmt.Errorf("who holds %s cannot be read: %w", h.peer, err)
	case !holder.Held:
		return fmt.Errorf("nobody holds the name lock of %s: take it before saying HELLO", h.peer)
	case holder.PID != 0 && holder.PID != pid:
		return fmt.Errorf("process %d holds the name %s, not process %d", holder.PID, h.peer, pid)
	}
	return nil
}
