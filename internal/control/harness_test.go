package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pairguard/pairguard/internal/ipc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testPatience is long because nothing but a failure uses it up.
const testPatience = time.Minute

// netConn is a Conn of package net, trusted or not.
type netConn struct {
	net.Conn
	stranger bool
}

func (c netConn) Trusted() error {
	if c.stranger {
		return ipc.ErrUntrusted
	}
	return nil
}

type netListener struct {
	*net.UnixListener
	strangers bool
	failures  chan error // returned by Accept first
}

func (l netListener) Accept() (Conn, error) {
	select {
	case err := <-l.failures:
		return nil, err
	default:
	}
	c, err := l.UnixListener.Accept()
	if errors.Is(err, net.ErrClosed) {
		return nil, os.ErrClosed
	}
	if err != nil {
		return nil, err
	}
	return netConn{c, l.strangers}, nil
}

// stand is a server that runs for a test.
type stand struct {
	path string
	l    netListener
	end  func() // ends the server and waits for it
}

func open(t *testing.T, h Handler, change ...func(*limits, *netListener)) *stand {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &stand{path: filepath.Join(dir, "s")}
	s.listen(t, h, change...)
	return s
}

// listen starts a server at the path of s.
func (s *stand) listen(t *testing.T, h Handler, change ...func(*limits, *netListener)) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	lim := defaultLimits
	s.l = netListener{UnixListener: l, failures: make(chan error, 8)}
	for _, f := range change {
		f(&lim, &s.l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	own := s.l
	go func() { defer close(done); serve(ctx, own, h, lim) }()
	s.end = func() { cancel(); <-done }
	t.Cleanup(s.end)
}

func (s *stand) connect(context.Context) (Conn, error) {
	c, err := net.Dial("unix", s.path)
	if err != nil {
		return nil, errors.Join(ipc.ErrAbsent, err)
	}
	return netConn{Conn: c}, nil
}

func (s *stand) dial(t *testing.T) *caller {
	t.Helper()
	c, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(testPatience)); err != nil {
		t.Fatal(err)
	}
	return &caller{c.(*net.UnixConn), bufio.NewReader(c)}
}

// caller is a client that says what it likes.
type caller struct {
	*net.UnixConn
	r *bufio.Reader
}

func (c *caller) say(t *testing.T, lines ...string) {
	t.Helper()
	if _, err := c.Write([]byte(strings.Join(lines, "\n") + "\n")); err != nil {
		t.Fatal(err)
	}
}

func (c *caller) hear(t *testing.T) string {
	t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// converse says one line to a server of its own and returns the answer.
func converse(t *testing.T, h Handler, line string) string {
	t.Helper()
	s := open(t, h)
	defer s.end()
	c := s.dial(t)
	defer c.Close()
	c.say(t, line)
	return c.hear(t)
}

// fakeSupervisor answers what it was told to. Its wait answers when ctx ends.
type fakeSupervisor struct {
	answers map[string]json.RawMessage // by method; missing: the zero answer
	refusal error                      // instead of every answer
	record  bool                       // asked returns the parameters instead of the methods
	before  func(ctx context.Context, method string)

	mu     sync.Mutex
	params []any
	calls  []any
}

func (f *fakeSupervisor) asked() []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.record {
		return f.params
	}
	return f.calls
}

func fake[R any](ctx context.Context, f *fakeSupervisor, method string, params any) (result R, err error) {
	f.mu.Lock()
	f.params, f.calls = append(f.params, params), append(f.calls, method)
	f.mu.Unlock()
	if f.before != nil {
		f.before(ctx, method)
	}
	if f.refusal != nil {
		return result, f.refusal
	}
	if body := f.answers[method]; body != nil {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		return result, d.Decode(&result)
	}
	return result, nil
}

func (f *fakeSupervisor) Up(ctx context.Context, p UpParams) (Changes, error) {
	return fake[Changes](ctx, f, "up", p)
}

func (f *fakeSupervisor) Run(ctx context.Context, p RunParams) (RunResult, error) {
	return fake[RunResult](ctx, f, "run", p)
}

func (f *fakeSupervisor) Start(ctx context.Context, p NamesParams) (Changes, error) {
	return fake[Changes](ctx, f, "start", p)
}

func (f *fakeSupervisor) Stop(ctx context.Context, p StopParams) (Changes, error) {
	return fake[Changes](ctx, f, "stop", p)
}

func (f *fakeSupervisor) Restart(ctx context.Context, p RestartParams) (Changes, error) {
	return fake[Changes](ctx, f, "restart", p)
}

func (f *fakeSupervisor) Hold(ctx context.Context, p HoldParams) (Changes, error) {
	return fake[Changes](ctx, f, "hold", p)
}

func (f *fakeSupervisor) Unhold(ctx context.Context, p NamesParams) (Changes, error) {
	return fake[Changes](ctx, f, "unhold", p)
}

func (f *fakeSupervisor) Status(ctx context.Context, p NamesParams) (Status, error) {
	return fake[Status](ctx, f, "status", p)
}

func (f *fakeSupervisor) Wait(ctx context.Context, p WaitParams) (WaitResult, error) {
	return fake[WaitResult](ctx, f, "wait", p)
}

func (f *fakeSupervisor) Down(ctx context.Context, p DownParams) (Changes, error) {
	return fake[Changes](ctx, f, "down", p)
}
