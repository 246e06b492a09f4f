package supervisor

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/proc"
)

const (
	custodySocket = "supervisor.custody.sock"
	// dialPatience is how long reaching the active one may take.
	dialPatience = 2 * time.Second
	// drainPatience is how long the link of a dead active one may stay open: a child of
	// it that has not come to its exec yet holds it, too, unless the thread of starts
	// forked it.
	drainPatience = 2 * time.Second
)

func (l *loop) custodyAddress() ipc.Address {
	return ipc.Address(filepath.Join(l.dir.Path(), custodySocket))
}

// standby is what we hold for the active one, and the link to it.
type standby struct {
	l      *loop
	conn   *ipc.Courier // nil: there is no link
	handle *proc.Handle // of the active one; nil: not known
	held   map[string][]*os.File
	// processes are the handles of programs, from birth: a death between two
	// supervisors is seen, and how it came about.
	processes map[string]keptProcess
	unacked   uint64 // what we have and have not acknowledged yet; 0: nothing
	over      bool   // the link has ended
}

// keptProcess is the main process of one life of a program.
type keptProcess struct {
	*proc.Handle
	generation uint64
}

// of returns the process if it is that of the life, and closes any other.
func (p keptProcess) of(generation uint64) *proc.Handle {
	if p.Handle != nil && p.generation != generation {
		p.Close()
		return nil
	}
	return p.Handle
}

// dial links to the active one, from nothing.
func (l *loop) dial() {
	if l.standby != nil {
		l.standby.drop()
	}
	s := &standby{l: l, held: map[string][]*os.File{}, processes: map[string]keptProcess{}}
	l.standby = s
	hello := parcel{Kind: joinParcel, Body: encode(joining{Version: custodyVersion, Generation: l.member.Status().Generation, Since: l.since})}
	l.later(func() {
		conn, handle, err := l.reachActive(hello.appendTo(nil))
		if !l.post(func() { s.dialed(conn, handle, err) }) && err == nil {
			conn.Close()
			handle.Close()
		}
	})
}

// reachActive connects to whoever listens, and makes sure that it is the holder of
// the active one's lock.
func (l *loop) reachActive(hello []byte) (*ipc.Courier, *proc.Handle, error) {
	ctx, cancel := context.WithTimeout(l.ctx, dialPatience)
	defer cancel()
	conn, err := ipc.DialCourier(ctx, l.custodyAddress())
	if err != nil {
		return nil, nil, err
	}
	handle, err := l.trust(conn, l.name)
	if err == nil {
		err = conn.Send(hello)
	}
	if err != nil {
		conn.Close()
		if handle != nil {
			handle.Close()
		}
		return nil, nil, err
	}
	return conn, handle, nil
}

func (s *standby) dialed(conn *ipc.Courier, handle *proc.Handle, err error) {
	if s.l.standby != s || err != nil {
		if err == nil {
			conn.Close()
			handle.Close()
		}
		if s.l.standby == s {
			s.l.debug("no custody link", "error", err)
			s.l.decide(custody.LinkEnded{})
		}
		return
	}
	s.conn, s.handle = conn, handle
	s.l.decide(custody.Linked{})
	handle.OnDone(func() {
		s.l.hurry()
		s.l.post(s.activeEnded)
	})
	s.l.later(s.receive)
}

// hurryFor is longer than a takeover takes.
const hurryFor = 5 * time.Second

func (l *loop) hurry() {
	if l.cfg.Hurry != nil {
		l.cfg.Hurry(true)
		time.AfterFunc(hurryFor, func() { l.cfg.Hurry(false) })
	}
}

func (s *standby) activeEnded() {
	if s.l.standby != s {
		return
	}
	s.l.decide(custody.ActiveEnded{})
	s.l.afterwards(drainPatience, s.linkEnded)
}

// receive reads the link to its end.
func (s *standby) receive() {
	for {
		parcels, err := receive(s.conn)
		if err != nil {
			s.l.debug("custody link ended", "error", err)
			s.l.post(s.linkEnded)
			return
		}
		if !s.l.post(func() {
			for _, p := range parcels {
				s.received(p)
			}
		}) {
			for _, p := range parcels {
				closeAll(p.files)
			}
			return
		}
	}
}

func (s *standby) linkEnded() {
	if s.over || s.l.standby != s {
		return
	}
	s.over = true
	s.conn.Close()
	s.l.decide(custody.LinkEnded{})
}

func (s *standby) received(p arrived) {
	if s.l.standby != s || s.over || s.l.active != nil && s.l.active.serving {
		closeAll(p.files)
		return
	}
	switch p.Kind {
	case itemParcel:
		s.keep(p.parcel, p.files)
		s.l.decide(custody.Given{Seq: p.Seq, Item: p.item()})
	case endParcel:
		s.l.decide(custody.SnapshotDone{Seq: p.Seq})
	default:
		closeAll(p.files)
	}
}

// keep puts descriptors where their key is, and closes those before.
func (s *standby) keep(p parcel, files []*os.File) {
	closeAll(s.held[p.Key])
	delete(s.held, p.Key)
	if name, ok := strings.CutPrefix(p.Key, processItem); ok {
		if old, known := s.processes[name]; known {
			old.Close()
			delete(s.processes, name)
		}
		if len(files) == 1 {
			s.keepProcess(name, p.Body, files[0])
		}
		return
	}
	if len(files) > 0 {
		s.held[p.Key] = files
	}
}

func (s *standby) keepProcess(name string, body []byte, file *os.File) {
	h, err := proc.FromFile(file)
	if err != nil {
		return
	}
	var r processRecord
	if json.Unmarshal(body, &r) != nil {
		h.Close()
		return
	}
	s.processes[name] = keptProcess{h, r.Generation}
}

// ack notes that everything up to seq is to be acknowledged.
func (s *standby) ack(seq uint64) { s.unacked = seq }

// sendAck acknowledges what was noted: one parcel for all that came in one batch.
func (s *standby) sendAck() {
	if s == nil || s.over || s.unacked == 0 {
		return
	}
	seq := s.unacked
	s.unacked = 0
	if err := s.conn.Send(parcel{Kind: ackParcel, Seq: seq}.appendTo(nil)); err != nil {
		s.l.debug("cannot acknowledge", "error", err)
		s.linkEnded()
	}
}

// take hands over what is held under a key.
func (s *standby) take(key string) []*os.File {
	if s == nil {
		return nil
	}
	files := s.held[key]
	delete(s.held, key)
	return files
}

// takeProcess hands over the newest main process of a program; its Handle is nil when
// there is none.
func (s *standby) takeProcess(name string) keptProcess {
	if s == nil {
		return keptProcess{}
	}
	p := s.processes[name]
	delete(s.processes, name)
	return p
}

// drop gives everything back.
func (s *standby) drop() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.handle != nil {
		s.handle.Close()
	}
	for _, files := range s.held {
		closeAll(files)
	}
	for _, h := range s.processes {
		h.Close()
	}
	s.held, s.processes, s.over = nil, nil, true
}
