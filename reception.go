package pairguard

import (
	"context"
	"errors"
	"os"
	"sync"
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
// goes on listening when it is the peer. settled is called once the loop knows of
// it: before that a flood must not pile up.
func (l *loop) meet(conn *ipc.Conn, settled func()) {
	stop := context.AfterFunc(l.ctx, func() { conn.Close() })
	defer stop()
	settled = sync.OnceFunc(settled)
	defer settled()
	l.crowd.enter(conn)
	process, err := l.known.behind(conn)
	if err != nil {
		l.crowd.leave(conn)
		l.m.settings.debug("a connection was not accepted", "error", err)
		conn.Close()
		return
	}
	conn.SetReadDeadline(time.Now().Add(introduceTime))
	scanner, first, err := introduction(conn)
	conn.SetReadDeadline(time.Time{})
	l.crowd.leave(conn)
	if err != nil {
		l.known.release(process)
		conn.Close()
		return
	}
	switch hello := first.(type) {
	case nil:
		l.meetPlain(conn, process, settled)
	case wire.Hello:
		l.meetPeer(conn, process, hello, scanner, settled)
	case wire.Look:
		l.known.release(process)
		l.answerLook(conn, scanner, settled)
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

func (l *loop) meetPlain(conn *ipc.Conn, process protocol.Process, settled func()) {
	id := l.newLink()
	heard := protocol.PlainHeard{Link: id, Process: process}
	if !l.m.post(linkMade{id, conn, heard}) {
		conn.Close()
		return
	}
	settled()
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
func (l *loop) meetPeer(conn *ipc.Conn, process protocol.Process, hello wire.Hello, scanner *wire.Scanner, settled func()) {
	if err := l.host.holds(process.PID); err != nil {
		l.known.release(process)
		conn.Send(wire.Append(nil, wire.Refused{Reason: err.Error()}))
		conn.Close()
		return
	}
	id := l.newLink()
	if !l.m.post(linkMade{id, conn, protocol.Greeted{Link: id, Process: process, Hello: hello}}) {
		conn.Close()
		return
	}
	settled()
	l.listenOn(conn, id, process, scanner)
}

// answerLook serves an operator's connection: each LOOK makes us read the folder,
// and is answered with what we know.
func (l *loop) answerLook(conn *ipc.Conn, scanner *wire.Scanner, settled func()) {
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
			settled()
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

// makeRoom is how long nobody is let in after strangers were hung up on, so that
// what they had used up is there for the revival.
const makeRoom = 500 * time.Millisecond

// crowd is everybody who has connected and not yet said who he is. Safe for
// concurrent use.
type crowd struct {
	mu     sync.Mutex // guards what follows
	inside map[*ipc.Conn]bool
	until  time.Time // nobody is let in before
}

// enter counts a connection in.
func (c *crowd) enter(conn *ipc.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside == nil {
		c.inside = map[*ipc.Conn]bool{}
	}
	c.inside[conn] = true
}

// pause is how long nobody is to be let in from now.
func (c *crowd) pause() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Until(c.until)
}

// leave counts it out.
func (c *crowd) leave(conn *ipc.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inside, conn)
}

// hangUp closes every connection of a stranger: something that the guard itself
// needs could not be had, and they may be why.
func (c *crowd) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.inside {
		conn.Close()
	}
	if len(c.inside) > 0 {
		c.until = time.Now().Add(makeRoom)
	}
}
