package sim

import (
	"time"

	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/wire"
)

// conn is one connection between two processes: side 0 dialed, side 1 listens.
type conn struct {
	p          [2]int32
	open       [2]bool          // that side has not closed it
	last       [2]time.Duration // nothing overtakes what was sent to that side before
	introduced bool             // the listener has read the first line
	refused    bool
	plain      bool // what comes from side 0 is no HELLO
}

// line is what travels; ping is what a plain peer writes.
type line struct {
	message wire.Message
	ping    bool
}

func linkOf(c int32, side uint8) protocol.Link { return protocol.Link(2*c + int32(side) + 1) }

func connOf(l protocol.Link) (c int32, side uint8) {
	return int32(l-1) / 2, uint8(l-1) % 2
}

// connect is connect(): it succeeds whenever somebody listens, also when that
// process stands still.
func (w *world) connect(id int32, probe bool) {
	p := &w.procs[id]
	owner := w.folder.listener[1-p.name]
	if owner < 0 || !w.folder.socketFile[1-p.name] || !w.procs[owner].listening {
		w.later(id, protocol.DialFailed{Probe: probe, Absent: true})
		return
	}
	c := w.newConn(id, owner)
	w.later(id, protocol.Dialed{Link: linkOf(c, 0), Process: handleOf(owner), Probe: probe})
}

func (w *world) newConn(from, to int32) int32 {
	w.conns = append(w.conns, conn{p: [2]int32{from, to}, open: [2]bool{true, true}})
	return int32(len(w.conns) - 1)
}

// later delivers an event after a while.
func (w *world) later(id int32, e protocol.Event) {
	w.push(item{at: w.now + w.delay(), kind: itemDeliver, p: id, event: e})
}

// put writes a line to the other side of the connection.
func (w *world) put(c int32, side uint8, l line) {
	k := &w.conns[c]
	if k.open[side] && k.open[1-side] {
		w.push(item{at: w.arrival(k, 1-side), kind: itemArrive, p: k.p[1-side], x: c, side: 1 - side, line: l})
	}
}

func (w *world) arrival(k *conn, side uint8) time.Duration {
	k.last[side] = max(k.last[side], w.now+w.delay())
	return k.last[side]
}

// hangUp closes one side; the other one reads its end.
func (w *world) hangUp(c int32, side uint8) {
	k := &w.conns[c]
	if !k.open[side] {
		return
	}
	k.open[side] = false
	if k.open[1-side] {
		w.push(item{at: w.arrival(k, 1-side), kind: itemEnd, p: k.p[1-side], x: c, side: 1 - side})
	}
}

// closeAll is the end of a process as the others see it first.
func (w *world) closeAll(id int32) {
	p := &w.procs[id]
	p.listening = false
	for c := range w.conns {
		for side := range uint8(2) {
			if w.conns[c].p[side] == id {
				w.hangUp(int32(c), side)
			}
		}
	}
}

// arrive is a line that reaches a process; what the driver makes of it.
func (w *world) arrive(it item) {
	k := &w.conns[it.x]
	if !k.open[it.side] || k.refused {
		return
	}
	p := &w.procs[it.p]
	if p.kind != member {
		w.plainHears(it.p)
		return
	}
	link, from := linkOf(it.x, it.side), k.p[1-it.side]
	if it.line.ping {
		k.introduced, k.plain = true, true
		w.deliver(it.p, protocol.PlainHeard{Link: link, Process: handleOf(from)})
		return
	}
	hello, ok := it.line.message.(wire.Hello)
	if ok && it.side == 1 && !k.introduced {
		k.introduced = true
		if !w.mayGreet(from, p.name) {
			w.put(it.x, 1, line{message: wire.Refused{Reason: "not the holder"}})
			k.refused = true
			w.hangUp(it.x, 1)
			return
		}
	}
	switch m := it.line.message.(type) {
	case wire.Hello:
		w.deliver(it.p, protocol.Greeted{Link: link, Process: handleOf(from), Hello: hello})
	case wire.Beat:
		w.deliver(it.p, protocol.BeatHeard{Link: link, Beat: m})
	case wire.Bye:
		w.deliver(it.p, protocol.ByeHeard{Link: link, Bye: m})
	case wire.Refused:
		w.deliver(it.p, protocol.RefusedHeard{Link: link, Reason: m.Reason})
	}
}

// mayGreet: the kernel's word on the speaker, and the name lock.
func (w *world) mayGreet(speaker int32, listener int) bool {
	return w.broken == holderNotChecked || w.folder.lock[1-listener] == speaker
}

// ended: the other side has closed the connection, or died.
func (w *world) ended(it item) {
	k := &w.conns[it.x]
	if !k.open[it.side] {
		return
	}
	k.open[it.side] = false
	p := &w.procs[it.p]
	if p.kind != member {
		w.plainLost(it.p, it.side)
		return
	}
	if w.broken == endTakenForDeath {
		w.deliver(it.p, protocol.Died{Process: handleOf(k.p[1-it.side]), Exit: "its link has ended"})
	}
	if it.side == 0 || k.introduced {
		w.step(it.p, protocol.LinkLost{Link: linkOf(it.x, it.side)})
	}
}
