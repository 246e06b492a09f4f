package control

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// MaxLine is the longest request, in bytes with its LF.
	MaxLine = 1 << 20
	// maxConns is how many clients are served at once.
	maxConns = 256
	// maxAtOnce is how many requests of one connection may be in work.
	maxAtOnce = 16
	// writePatience is how long a client may let an answer wait.
	writePatience = 10 * time.Second
	// farewell is how long requests in work have for their answers when the server
	// ends, or when their client says no more.
	farewell = time.Second
	// acceptPause is how long accepting rests after a failure, such as descriptors used up.
	acceptPause = 50 * time.Millisecond
)

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
// At most 256 clients are served at once. When one more comes, the connection is
// closed that has been doing nothing, or nothing but wait, for the longest time:
// its client asks again. So no number of those who wait keeps a person's stop out.
func Serve(ctx context.Context, l Listener, h Handler) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{handler: h, sessions: map[*session]struct{}{}, room: make(chan struct{}, 1)}
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
			rest(ctx, acceptPause)
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
	one := newSession(s, c)
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
		full := len(s.sessions) >= maxConns
		s.mu.Unlock()
		if !full {
			return true
		}
		s.evict()
		select {
		case <-s.room:
		case <-ctx.Done():
		}
	}
}

// evict closes the session that has been dispensable for the longest time, if there
// is one.
func (s *server) evict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest *session
	var since time.Time
	for one := range s.sessions {
		if t, ok := one.dispensableSince(); ok && (oldest == nil || t.Before(since)) {
			oldest, since = one, t
		}
	}
	if oldest != nil {
		oldest.close()
	}
}
