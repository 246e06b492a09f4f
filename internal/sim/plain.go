package sim

import (
	"time"

	"github.com/pairguard/pairguard/internal/wire"
)

// The times of the published Qt class.
const (
	pingEvery   = 2 * time.Second
	startsAfter = 5 * time.Second // of silence: then it starts a copy of the other
)

// plainPeer is what a process like the Qt class remembers.
type plainPeer struct {
	out     int32 // its connection to the other: 1 + its number; 0: none
	retried bool  // it has connected once more already
	heard   time.Duration
}

const (
	plainPings int32 = iota
	plainWatches
)

// bootOther is the birth of a process that is no member.
func (w *world) bootOther(id int32) {
	p := &w.procs[id]
	p.state, p.begun, p.okSince, p.begunAt = running, true, w.now, w.now
	if p.kind == impostor {
		if c := w.plainConnect(id); c >= 0 {
			w.put(c, 0, line{message: wire.Hello{
				Version: wire.Version, Self: names[p.name], Peer: names[1-p.name], PID: 1, Generation: 1, Heartbeat: heartbeat, Healthy: true,
			}})
		}
		return
	}
	w.listen(id)
	p.plain.heard = w.now
	w.plainConnect(id)
	w.push(item{at: w.now + pingEvery, kind: itemPlain, p: id, x: plainPings})
	w.push(item{at: w.now + startsAfter, kind: itemPlain, p: id, x: plainWatches})
	w.release(id)
}

// plainConnect connects once; nobody there: so be it.
func (w *world) plainConnect(id int32) int32 {
	p := &w.procs[id]
	owner := w.folder.listener[1-p.name]
	if owner < 0 || !w.folder.socketFile[1-p.name] || !w.procs[owner].listening {
		p.plain.out = 0
		return -1
	}
	c := w.newConn(id, owner)
	p.plain.out = c + 1
	return c
}

func (w *world) plainTimer(id, which int32) {
	p := &w.procs[id]
	if which == plainPings {
		if p.plain.out != 0 {
			w.put(p.plain.out-1, 0, line{ping: true})
		}
		w.push(item{at: w.now + pingEvery, kind: itemPlain, p: id, x: plainPings})
		return
	}
	if w.now-p.plain.heard < startsAfter {
		w.push(item{at: p.plain.heard + startsAfter, kind: itemPlain, p: id, x: plainWatches})
		return
	}
	p.plain.heard = w.now
	w.check.started(w, 1-p.name)
	w.bear(1-p.name, member, false, id)
	w.push(item{at: w.now + startsAfter, kind: itemPlain, p: id, x: plainWatches})
}

func (w *world) plainHears(id int32) { w.procs[id].plain.heard = w.now }

// plainLost: on disconnected it connects once more.
func (w *world) plainLost(id int32, side uint8) {
	p := &w.procs[id]
	if p.kind != plainOne || side != 0 {
		return
	}
	p.plain.out = 0
	if !p.plain.retried {
		p.plain.retried = true
		w.plainConnect(id)
	}
}
