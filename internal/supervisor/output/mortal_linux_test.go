package output

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// mortal is the kernel for a pump that dies at a certain call, before or after it
// was done; whoever makes that call, or one later, does not come back from it.
type mortal struct {
	kernel system
	after  bool   // it dies after that call, else before
	die    func() // must not return

	mu   sync.Mutex
	left int // calls until then
	dead bool
	logs []*os.File // what the kernel would close at its death
}

// mortally does one call.
func mortally[T any](m *mortal, call func() T) T {
	m.mu.Lock()
	last := m.left == 0
	m.left--
	if m.dead || last && !m.after {
		m.dead = true
		m.mu.Unlock()
		m.die()
	}
	v := call() // with the lock held: no other call comes in between
	m.dead = last
	m.mu.Unlock()
	if last {
		m.die()
	}
	return v
}

// bury does what the kernel does after a death.
func (m *mortal) bury(s *Stream) {
	s.closeFiles()
	for _, f := range m.logs {
		f.Close()
	}
}

type answer struct {
	n    int
	err  error
	file *os.File
}

func (m *mortal) splice(pipe, file int, offset int64, n int) (int, error) {
	a := mortally(m, func() (a answer) { a.n, a.err = m.kernel.splice(pipe, file, offset, n); return })
	return a.n, a.err
}

func (m *mortal) tee(pipe, scratch int, n int) (int, error) {
	a := mortally(m, func() (a answer) { a.n, a.err = m.kernel.tee(pipe, scratch, n); return })
	return a.n, a.err
}

func (m *mortal) discard(pipe, null int, n int) (int, error) {
	a := mortally(m, func() (a answer) { a.n, a.err = m.kernel.discard(pipe, null, n); return })
	return a.n, a.err
}

func (m *mortal) openLog(path string, extra int) (*os.File, error) {
	a := mortally(m, func() (a answer) {
		a.file, a.err = m.kernel.openLog(path, extra)
		m.logs = append(m.logs, a.file)
		return
	})
	return a.file, a.err
}

func (m *mortal) makeFolder(path string) error {
	return mortally(m, func() error { return m.kernel.makeFolder(path) })
}

func (m *mortal) rename(from, to string) error {
	return mortally(m, func() error { return m.kernel.rename(from, to) })
}

func (m *mortal) remove(path string) error {
	return mortally(m, func() error { return m.kernel.remove(path) })
}

func (m *mortal) fstat(fd int, st *unix.Stat_t) error {
	return mortally(m, func() error { return m.kernel.fstat(fd, st) })
}

func (m *mortal) stat(path string, st *unix.Stat_t) error {
	return mortally(m, func() error { return m.kernel.stat(path, st) })
}

func (m *mortal) pread(fd int, b []byte, offset int64) (int, error) {
	a := mortally(m, func() (a answer) { a.n, a.err = m.kernel.pread(fd, b, offset); return })
	return a.n, a.err
}

func (m *mortal) pwrite(fd int, b []byte, offset int64) (int, error) {
	a := mortally(m, func() (a answer) { a.n, a.err = m.kernel.pwrite(fd, b, offset); return })
	return a.n, a.err
}

func (m *mortal) truncate(fd int, size int64) error {
	return mortally(m, func() error { return m.kernel.truncate(fd, size) })
}
