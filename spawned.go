package pairguard

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

// openSpawned returns a handle on the process that a record says was started, nil
// when it is gone. The record may be an intent whose author died before it could add
// the process: then the token, which stands in the environment of what was started,
// finds it, where the system lets us look.
func openSpawned(s pairdir.Spawn) (*proc.Handle, error) {
	if s.Process == nil {
		return findByToken(s.Token)
	}
	h, err := proc.Reopen(*s.Process)
	if errors.Is(err, proc.ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("process %d cannot be watched: %w", s.Process.PID, err)
	}
	return unlessDead(h), nil
}

// findByToken returns the oldest process that carries the token. Its own children
// have inherited it, so a younger one is taken only when the first has ended: what
// may be the program is not started beside it.
func findByToken(token string) (first *proc.Handle, err error) {
	found, err := proc.FindMarked(revivalVariable, token)
	if errors.Is(err, proc.ErrNotSupported) {
		return nil, nil
	}
	for _, h := range found {
		if first != nil || h.PID() == os.Getpid() {
			h.Close()
			continue
		}
		first = unlessDead(h)
	}
	return first, err
}

// unlessDead returns h, or closes it when its process is dead, though perhaps nobody
// has reaped it yet: an orphan's new parent may take its time.
func unlessDead(h *proc.Handle) *proc.Handle {
	select {
	case <-h.Done():
		h.Close()
		return nil
	default:
		return h
	}
}

// starts is what we know of what was started under the peer's name. Its lock is held
// while the record changes, and never during a start, which may take as long as a
// disk does. Safe for concurrent use.
type starts struct {
	mu     sync.Mutex    // guards what follows, and that a newer record stays
	newest pairdir.Spawn // that is known to have become a process
	vain   string        // the token of an intent that became none
}

// record stores what we start, or have started.
func (h *realHost) record(s pairdir.Spawn) error {
	h.starts.mu.Lock()
	defer h.starts.mu.Unlock()
	if s.Process != nil {
		h.starts.newest = s
	}
	return h.dir.StoreSpawn(h.peer, s)
}

// readSpawned finds what was started under the peer's name, by us or by an earlier
// life of our name. An intent of ours is no news: its start reports by itself.
func (h *realHost) readSpawned() (*proc.Handle, error) {
	s, found, err := h.dir.ReadSpawn(h.peer)
	if err != nil && !h.damaged(err) {
		return nil, err
	}
	if err != nil || !found || s.Process == nil && (s.By == h.me || h.inVain(s.Token)) {
		return nil, nil
	}
	process, err := openSpawned(s)
	if err != nil {
		return nil, fmt.Errorf("what was started as %s: %w", h.peer, err)
	}
	h.noteSpawned(s, process)
	return process, nil
}

func (h *realHost) inVain(token string) bool {
	h.starts.mu.Lock()
	defer h.starts.mu.Unlock()
	return token == h.starts.vain
}

// noteSpawned remembers what was found, nil: nothing, and completes the record of an
// author who died too early, unless there is a newer one.
func (h *realHost) noteSpawned(s pairdir.Spawn, process *proc.Handle) {
	h.starts.mu.Lock()
	defer h.starts.mu.Unlock()
	switch {
	case process == nil && s.Process == nil:
		h.starts.vain = s.Token
		return
	case process == nil:
		return
	case s.Process == nil:
		if now, found, err := h.dir.ReadSpawn(h.peer); err != nil || found && now.Token != s.Token {
			return
		}
		id := process.ID()
		s.Process = &id
		if err := h.dir.StoreSpawn(h.peer, s); err != nil {
			h.remark(fmt.Errorf("the start of %s could not be recorded: %w", h.peer, err))
		}
		h.remark(fmt.Errorf("%s: process %d was started by a guard that died before it could say so", h.peer, id.PID))
	}
	h.starts.newest = s
}

// restoreSpawned puts the record of what was started back when somebody removed it.
func (h *realHost) restoreSpawned() (restored bool, err error) {
	h.starts.mu.Lock()
	defer h.starts.mu.Unlock()
	if h.starts.newest.Process == nil || proc.Gone(*h.starts.newest.Process) {
		return false, nil
	}
	return h.dir.RestoreSpawn(h.peer, h.starts.newest)
}
