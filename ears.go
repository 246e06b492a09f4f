package pairguard

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/pairdir"
)

// ears are the listener of our name. Safe for concurrent use.
type ears struct {
	address ipc.Address
	claim   *pairdir.Claim

	mu      sync.Mutex // guards what follows
	current *ipc.Listener
	socket  fs.FileInfo // of the current listener; nil where sockets are no files
	loop    *loop
	closed  bool
}

// open listens. Only the holder of the name may: what an earlier holder has left
// there is removed.
func (e *ears) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listen()
}

func (e *ears) listen() error {
	if err := e.claim.RemoveStaleSocket(); err != nil {
		return err
	}
	listener, err := ipc.Listen(e.address)
	if err != nil {
		return err
	}
	if e.current != nil {
		e.current.Close()
	}
	e.current = listener
	if runtime.GOOS != "windows" {
		e.socket, _ = os.Lstat(string(e.address))
	}
	e.accept()
	return nil
}

// reopen listens again if the socket is not at its place any more, and says
// whether it did.
func (e *ears) reopen() (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || runtime.GOOS == "windows" {
		return false, nil
	}
	now, err := os.Lstat(string(e.address))
	if err == nil && e.socket != nil && os.SameFile(now, e.socket) {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, e.listen()
}

// serve lets the loop hear who connects, from now on.
func (e *ears) serve(l *loop) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loop = l
	e.accept()
}

func (e *ears) accept() {
	if l, listener := e.loop, e.current; l != nil {
		l.aside.Go(func() { l.accept(listener) })
	}
}

// close stops listening and removes the socket while the name is still ours.
func (e *ears) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed = true
	if e.current != nil {
		e.current.Close()
		e.claim.RemoveStaleSocket()
	}
}
