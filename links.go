package pairguard

import (
	"context"
	"errors"
	"time"

	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/wire"
)

// link is one connection that the machine knows.
type link struct {
	conn *ipc.Conn
	seq  uint64
	buf  []byte // reused for every line that is sent
}

func (l *loop) newLink() protocol.Link { return protocol.Link(l.linksMade.Add(1)) }

func (l *loop) closeLink(id protocol.Link) {
	if k := l.links[id]; k != nil {
		delete(l.links, id)
		k.conn.Close()
	}
}

// send puts a line on a link. A peer that does not read loses lines: it would not
// have heard them either.
func (l *loop) send(id protocol.Link, msg wire.Message) {
	k := l.links[id]
	if k == nil {
		return
	}
	if hello, ok := msg.(wire.Hello); ok {
		hello.Healthy = l.m.liveness.healthy(time.Now())
		msg = hello
	}
	k.buf = wire.Append(k.buf[:0], msg)
	if err := k.conn.Send(k.buf); err != nil {
		l.m.settings.debug("a line was not sent", "link", id, "error", err)
	}
}

// dial connects to the peer aside and finds out who listens there.
func (l *loop) dial(probe bool) {
	l.aside.Go(func() {
		ctx, cancel := context.WithTimeout(l.ctx, l.m.settings.Timeout)
		defer cancel()
		conn, err := l.host.dial(ctx)
		if err != nil {
			l.m.post(news{protocol.DialFailed{Probe: probe, Absent: errors.Is(err, ipc.ErrAbsent), Reason: err.Error()}})
			return
		}
		process, err := l.known.behind(conn)
		if err != nil {
			conn.Close()
			l.warnOfImpostor(err)
			l.m.post(news{protocol.DialFailed{Probe: probe, Reason: err.Error()}})
			return
		}
		id := l.newLink()
		if !l.m.post(linkMade{id, conn, protocol.Dialed{Link: id, Process: process, Probe: probe}}) {
			conn.Close()
			return
		}
		l.listenOn(conn, id, process, &wire.Scanner{})
	})
}

// warnOfImpostor tells a person that another user listens where the peer should,
// not more often than once a minute.
func (l *loop) warnOfImpostor(err error) {
	if !errors.Is(err, ipc.ErrUntrusted) {
		return
	}
	now := int64(time.Since(epoch)/time.Second) + 1
	last := l.warned.Load()
	if (last == 0 || now-last > 60) && l.warned.CompareAndSwap(last, now) {
		l.m.post(note("at the address of " + l.m.settings.Peer + " listens " + err.Error()))
	}
}

// listenOn reads one link until it ends.
func (l *loop) listenOn(conn *ipc.Conn, id protocol.Link, process protocol.Process, scanner *wire.Scanner) {
	stop := context.AfterFunc(l.ctx, func() { conn.Close() })
	defer stop()
	buf := make([]byte, wire.MaxLine)
	for {
		for {
			msg, ok, err := scanner.Next()
			if errors.Is(err, wire.ErrTooLong) {
				conn.Close()
			}
			if !ok && err == nil {
				break
			}
			if event := l.heard(id, process, msg); event != nil {
				l.m.post(linkNews{id, event})
			}
		}
		n, err := conn.Read(buf)
		if n == 0 && err != nil {
			l.m.post(linkNews{id, protocol.LinkLost{Link: id}})
			return
		}
		scanner.Feed(buf[:n])
	}
}

// heard turns a line into the machine's event; what means nothing is nil.
func (l *loop) heard(id protocol.Link, process protocol.Process, msg wire.Message) protocol.Event {
	switch m := msg.(type) {
	case wire.Hello:
		return protocol.Greeted{Link: id, Process: process, Hello: m}
	case wire.Beat:
		return protocol.BeatHeard{Link: id, Beat: m}
	case wire.Bye:
		return protocol.ByeHeard{Link: id, Bye: m}
	case wire.Refused:
		return protocol.RefusedHeard{Link: id, Reason: m.Reason}
	case wire.Look:
		return protocol.LookAsked{}
	}
	return nil
}
