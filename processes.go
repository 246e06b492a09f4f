package pairguard

import (
	"errors"
	"fmt"
	"sync"

	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/protocol"
)

type handle = proc.Handle

// rememberedDead bounds how many dead processes keep their number, so that a late
// word about one of them is recognised.
const rememberedDead = 64

// processes numbers the processes that the machine speaks of: the same process has
// the same number, by whatever way it became known. Safe for concurrent use.
type processes struct {
	mu     sync.Mutex
	next   uint64
	byID   map[proc.ID]uint64
	byNum  map[uint64]*watched
	burial []uint64 // numbers of the dead, oldest first
}

type watched struct {
	handle  *handle
	uses    int // how often it was added and not released
	dead    bool
	waiting bool // a goroutine waits for its end
}

func newProcesses() *processes {
	return &processes{byID: map[proc.ID]uint64{}, byNum: map[uint64]*watched{}}
}

// add takes over a handle; one on a process that is known already is closed.
func (p *processes) add(h *handle) protocol.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	number, known := p.byID[h.ID()]
	if known {
		h.Close()
	} else {
		p.next++
		number = p.next
		p.byID[h.ID()] = number
		p.byNum[number] = &watched{handle: h}
	}
	if w := p.byNum[number]; w != nil {
		w.uses++
	}
	return protocol.Process{Handle: number, PID: h.PID()}
}

// behind says which process is at the other end of a connection, if it is one that
// may speak to us: of the same user, or of root.
func (p *processes) behind(conn *ipc.Conn) (protocol.Process, error) {
	peer, err := conn.Peer()
	if err != nil {
		return protocol.Process{}, fmt.Errorf("the kernel does not say who connected: %w", err)
	}
	if err := peer.Trusted(); err != nil {
		return protocol.Process{}, err
	}
	if peer.PID == 0 {
		return protocol.Process{}, nil
	}
	h, err := peer.Open()
	if errors.Is(err, proc.ErrGone) {
		return protocol.Process{}, err
	}
	if err != nil {
		return protocol.Process{}, fmt.Errorf("process %d is connected but cannot be watched: %w", peer.PID, err)
	}
	return p.add(h), nil
}

// release takes back one add of a process that the machine was not told of: who
// only asks how we are is forgotten.
func (p *processes) release(s protocol.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.byNum[s.Handle]
	if w == nil {
		return
	}
	w.uses--
	if w.uses > 0 || w.waiting || w.dead {
		return
	}
	delete(p.byID, w.handle.ID())
	delete(p.byNum, s.Handle)
	w.handle.Close()
}

// watch makes sure that the end of each process reaches the inbox, after the event
// that spoke of it, even when it had ended before.
func (p *processes) watch(subjects []protocol.Process, m *Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range subjects {
		w := p.byNum[s.Handle]
		if w == nil || w.waiting {
			continue
		}
		w.waiting = true
		go p.await(s, w, m)
	}
}

func (p *processes) await(s protocol.Process, w *watched, m *Member) {
	select {
	case <-w.handle.Done():
	case <-m.quit:
		return
	}
	exit := w.handle.Exit().String()
	p.mu.Lock()
	w.waiting = false
	p.bury(s.Handle, w)
	p.mu.Unlock()
	m.post(news{protocol.Died{Process: s, Exit: exit}})
}

// bury keeps the number of a dead process for a while.
func (p *processes) bury(number uint64, w *watched) {
	if w.dead {
		return
	}
	w.dead = true
	p.burial = append(p.burial, number)
	if len(p.burial) <= rememberedDead {
		return
	}
	oldest := p.burial[0]
	p.burial = p.burial[1:]
	if old := p.byNum[oldest]; old != nil && !old.waiting {
		delete(p.byID, old.handle.ID())
		delete(p.byNum, oldest)
		old.handle.Close()
	}
}

// signal does something to a process through its handle. A process that is gone
// needs nothing; any other failure shows by its death not coming.
func (p *processes) signal(s protocol.Process, do func(*handle) error) error {
	if h := p.handleOf(s); h != nil {
		return do(h)
	}
	return nil
}

// handleOf is the handle on a process that is known; nil if it is not any more.
func (p *processes) handleOf(s protocol.Process) *handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.byNum[s.Handle]; w != nil {
		return w.handle
	}
	return nil
}

// closeAll lets go of every handle.
func (p *processes) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.byNum {
		w.handle.Close()
	}
}
