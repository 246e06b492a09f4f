package control

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// MaxLine is the longest request, in bytes with its LF.
const MaxLine = 1 << 20

// limits keep clients from using up the supervisor.
type limits struct {
	conns    int           // clients that are served at once
	atOnce   int           // requests of one connection that are in work
	patience time.Duration // how long a client may let an answer wait
	// farewell is how long requests in work have for their answers when the server
	// ends, or when their client says no more.
	farewell time.Duration
	// acceptPause is how long accepting rests after a failure.
	acceptPause time.Duration
}

var defaultLimits = limits{conns: 256, atOnce: 16, patience: 10 * time.Second, farewell: time.Second, acceptPause: 50 * time.Millisecond}

// Conn is one connection, of a client or to one.
type Conn interface {
	io.ReadWriteCloser
	SetWriteDeadline(t time.Time) error
	// Trusted returns nil when the other end belongs to this user, or to root.
	Trusted() error
}

// Listener accepts connections. os.ErrClosed ends accepting; other errors do not.
type Listener interface {
	Accept() (Conn, error)
	Close() error
}

// Serve answers clients until ctx ends or the listener is closed; it closes the
// listener, gives requests in work a second for their answers, and returns when
// nothing of it runs any more. It never fails: whatever goes wrong with one client
// ends that connection.
//
// At most 256 clients are served at once. When one more comes, the one is sent away
// that has been doing nothing, or nothing but wait, for the longest time: it asks
// again. So no number of those who wait keeps a person's stop out.
func Serve(ctx context.Context, l Listener, h Handler) { serve(ctx, l, h, defaultLimits) }

func serve(ctx context.Context, l Listener, h Handler, lim limits) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{handler: h, limits: lim, sessions: map[*session]struct{}{}, room: make(chan struct{}, 1)}
	defer s.running.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		if !s.makeRoom(ctx) {
			return
		}
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			// Perhaps descriptors are used up: an idle client's may help.
			s.evict()
			rest(ctx, lim.acceptPause)
		default:
			s.admit(ctx, c)
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

type server struct {
	handler Handler
	limits  limits
	running sync.WaitGroup
	room    chan struct{} // has a word in it when a session may have become dispensable

	mu       sync.Mutex
	sessions map[*session]struct{}
}

// admit starts serving c, unless it is a stranger's.
func (s *server) admit(ctx context.Context, c Conn) {
	if c.Trusted() != nil {
		_ = c.Close()
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	one := newSession(s, c, cancel)
	s.mu.Lock()
	s.sessions[one] = struct{}{}
	s.mu.Unlock()
	s.running.Go(func() {
		one.serve(ctx)
		s.mu.Lock()
		delete(s.sessions, one)
		s.mu.Unlock()
		s.mayHaveRoom()
	})
}

func (s *server) mayHaveRoom() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// makeRoom returns true when one more client can be served, false when ctx ended.
func (s *server) makeRoom(ctx context.Context) bool {
	for {
		if ctx.Err() != nil {
			return false
		}
		s.mu.Lock()
		full := len(s.sessions) >= s.limits.conns
		s.mu.Unlock()
		if !full {
			return true
		}
		s.evict()
		t := time.NewTimer(s.limits.acceptPause) // an idle client becomes dispensable by time alone
		select {
		case <-s.room:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// evict ends the session that has been dispensable for the longest time, if there is
// one.
func (s *server) evict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest *session
	var since time.Time
	now := time.Now()
	for one := range s.sessions {
		if t, ok := one.dispensableSince(now); ok && (oldest == nil || t.Before(since)) {
			oldest, since = one, t
		}
	}
	if oldest != nil {
		oldest.sendAway()
	}
}
