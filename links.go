package pairguard

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/protocol"
	"github.com/pairguard/pairguard/internal/wire"
)

// Limits on connections that have not said who they are.
const (
	strangers     = 64               // at once; further ones wait in the listener's queue
	introduceTime = 10 * time.Second // a plain peer pings every 2 s
	acceptPause   = 100 * time.Millisecond
)

// link is one connection that the machine knows.
type link struct {
	conn *ipc.Conn
	seq  uint64
	buf  []byte // reused for every line that is sent
}

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
		id := l.known.newLink()
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

// accept takes connections until the listener is closed.
func (l *loop) accept(listener *ipc.Listener) {
	room := make(chan struct{}, strangers)
	for {
		select {
		case room <- struct{}{}:
		case <-l.ctx.Done():
			return
		}
		if wait := l.crowd.pause(); wait > 0 {
			l.rest(wait)
		}
		conn, err := listener.Accept()
		switch {
		case l.ctx.Err() != nil && err == nil:
			conn.Close()
			return
		case l.ctx.Err() != nil || errors.Is(err, os.ErrClosed):
			return // we end, or another listener has taken over
		case err != nil:
			<-room
			l.acceptFailed(err)
		default:
			l.aside.Go(func() { l.meet(conn, func() { <-room }) })
		}
	}
}

// acceptFailed waits a moment: descriptors may be used up, and come back.
func (l *loop) acceptFailed(err error) {
	l.m.settings.debug("a connection could not be accepted", "error", err)
	l.rest(acceptPause)
}

// rest waits, but not longer than the loop runs.
func (l *loop) rest(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
}

// meet finds out who has connected, from the kernel and from the first bytes, and
// goes on listening when it is the peer. settled is called once that is known.
func (l *loop) meet(conn *ipc.Conn, settled func()) {
	stop := context.AfterFunc(l.ctx, func() { conn.Close() })
	defer stop()
	l.crowd.enter(conn)
	known := func() { l.crowd.leave(conn); settled() }
	process, err := l.known.behind(conn)
	if err != nil {
		known()
		l.m.settings.debug("a connection was not accepted", "error", err)
		conn.Close()
		return
	}
	conn.SetReadDeadline(time.Now().Add(introduceTime))
	scanner, first, err := introduction(conn)
	conn.SetReadDeadline(time.Time{})
	known()
	if err != nil {
		l.known.release(process)
		conn.Close()
		return
	}
	switch hello := first.(type) {
	case nil:
		l.meetPlain(conn, process)
	case wire.Hello:
		l.meetPeer(conn, process, hello, scanner)
	case wire.Look:
		l.known.release(process)
		l.answerLook(conn, scanner)
	default:
		l.known.release(process)
		conn.Close()
	}
}

// introduction reads until it is clear what the connection is; a nil message is a
// plain peer.
func introduction(conn *ipc.Conn) (*wire.Scanner, wire.Message, error) {
	var scanner wire.Scanner
	var prefix []byte
	buf := make([]byte, wire.MaxLine)
	for {
		n, err := conn.Read(buf)
		if n == 0 && err != nil {
			return nil, nil, err
		}
		if len(prefix) < wire.MaxLine {
			prefix = append(prefix, buf[:n]...)
		}
		ours, decided := wire.LooksLikeOurs(prefix)
		if decided && !ours {
			return nil, nil, nil
		}
		scanner.Feed(buf[:n])
		if msg, ok, err := scanner.Next(); ok || err != nil {
			return &scanner, msg, err
		}
	}
}

func (l *loop) meetPlain(conn *ipc.Conn, process protocol.Process) {
	id := l.known.newLink()
	heard := protocol.PlainHeard{Link: id, Process: process}
	if !l.m.post(linkMade{id, conn, heard}) {
		conn.Close()
		return
	}
	buf := make([]byte, wire.MaxLine)
	for {
		if n, err := conn.Read(buf); n == 0 && err != nil {
			l.m.post(linkNews{id, protocol.LinkLost{Link: id}})
			return
		}
		l.m.post(linkNews{id, heard})
	}
}

// meetPeer lets the peer in if it is the holder of the name that it speaks for.
func (l *loop) meetPeer(conn *ipc.Conn, process protocol.Process, hello wire.Hello, scanner *wire.Scanner) {
	if err := l.host.holds(process.PID); err != nil {
		l.known.release(process)
		conn.Send(wire.Append(nil, wire.Refused{Reason: err.Error()}))
		conn.Close()
		return
	}
	id := l.known.newLink()
	if !l.m.post(linkMade{id, conn, protocol.Greeted{Link: id, Process: process, Hello: hello}}) {
		conn.Close()
		return
	}
	l.listenOn(conn, id, process, scanner)
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

// answerLook serves an operator's connection: each LOOK makes us read the folder,
// and is answered with what we know.
func (l *loop) answerLook(conn *ipc.Conn, scanner *wire.Scanner) {
	defer conn.Close()
	buf := make([]byte, wire.MaxLine)
	for {
		if !l.m.post(news{protocol.LookAsked{}}) {
			return
		}
		reply := make(chan Status, 1)
		if !l.m.post(question{reply}) {
			return
		}
		select {
		case s := <-reply:
			conn.Send(wire.Append(nil, s.wire()))
		case <-l.ctx.Done():
			return
		}
		if err := nextLook(conn, scanner, buf); err != nil {
			return
		}
	}
}

func nextLook(conn *ipc.Conn, scanner *wire.Scanner, buf []byte) error {
	conn.SetReadDeadline(time.Now().Add(introduceTime))
	for {
		msg, ok, err := scanner.Next()
		if err != nil {
			return err
		}
		if _, look := msg.(wire.Look); ok && look {
			return nil
		}
		if ok {
			continue
		}
		n, err := conn.Read(buf)
		if n == 0 && err != nil {
			return err
		}
		scanner.Feed(buf[:n])
	}
}
