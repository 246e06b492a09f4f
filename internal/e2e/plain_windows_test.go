package e2e

import (
	"os"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/pairguard/pairguard"
)

// playPlainPeer is a program that does with pipes what QLocalServer and
// QLocalSocket do on Windows, and speaks as the published class does: it listens
// under its own name, keeps a connection to the other and says "ping" every 2 s.
func playPlainPeer(own, other string) {
	name, err := windows.UTF16PtrFromString(`\\.\pipe\` + own)
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			serve(accept(name))
		}
	}()
	for {
		if pipe, ok := connect(other); ok {
			ping(pipe)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// accept is QLocalServer: byte mode, any number of instances, no first one, no
// buffers.
func accept(name *uint16) windows.Handle {
	pipe, err := windows.CreateNamedPipe(name, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED,
		windows.PIPE_TYPE_BYTE|windows.PIPE_READMODE_BYTE|windows.PIPE_WAIT, windows.PIPE_UNLIMITED_INSTANCES, 0, 0, 3000, nil)
	if err != nil {
		panic(err)
	}
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		panic(err)
	}
	defer windows.CloseHandle(event)
	wait := windows.Overlapped{HEvent: event}
	if err := windows.ConnectNamedPipe(pipe, &wait); err == windows.ERROR_IO_PENDING {
		_, _ = windows.WaitForSingleObject(event, windows.INFINITE)
	}
	return pipe
}

// serve reads one client, whose bytes mean nothing, and disconnects it at the end
// as QLocalSocket does.
func serve(pipe windows.Handle) {
	go func() {
		defer func() {
			_ = windows.DisconnectNamedPipe(pipe)
			_ = windows.CloseHandle(pipe)
		}()
		buf := make([]byte, 4096)
		for served := 0; served < 8<<10; { // then it has had enough, for the test's sake
			n, err := transfer(pipe, buf, windows.ReadFile)
			if err != nil {
				return
			}
			served += int(n)
		}
	}()
}

func transfer(pipe windows.Handle, buf []byte, call func(windows.Handle, []byte, *uint32, *windows.Overlapped) error) (n uint32, err error) {
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return 0, err
	}
	defer windows.CloseHandle(event)
	wait := windows.Overlapped{HEvent: event}
	if err := call(pipe, buf, nil, &wait); err != nil && err != windows.ERROR_IO_PENDING {
		return 0, err
	}
	err = windows.GetOverlappedResult(pipe, &wait, &n, true)
	return n, err
}

var waitNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("WaitNamedPipeW")

// connect is QLocalSocket::connectToServer.
func connect(other string) (windows.Handle, bool) {
	name, _ := windows.UTF16PtrFromString(`\\.\pipe\` + other)
	for {
		pipe, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_OVERLAPPED, 0)
		if err == nil {
			return pipe, true
		}
		if err != windows.ERROR_PIPE_BUSY {
			return 0, false
		}
		if ok, _, _ := waitNamedPipe.Call(uintptr(unsafe.Pointer(name)), 5000); ok == 0 {
			return 0, false
		}
	}
}

func ping(pipe windows.Handle) {
	defer func() {
		_ = windows.DisconnectNamedPipe(pipe) // fails at this end, and is called all the same
		_ = windows.CloseHandle(pipe)
	}()
	var lost sync.Once
	over := make(chan struct{})
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := transfer(pipe, buf, windows.ReadFile); err != nil {
				lost.Do(func() { close(over) })
				return
			}
		}
	}()
	for {
		if _, err := transfer(pipe, []byte("ping"), windows.WriteFile); err != nil {
			return
		}
		select {
		case <-over:
			return
		case <-time.After(2 * time.Second):
		}
	}
}

// plainPair is a guard at qt:pgA whose peer at qt:pgB is a plain peer.
func plainPair(t *testing.T) (s *scene, guard *actor, up func(since time.Time) pairguard.Event) {
	s = newScene(t)
	exe := must(os.Executable())(s)
	guard = s.start(command("pairguard"), []string{roleVariable + "=plain pgB pgA"},
		"guard", "qt:pgA", "qt:pgB", "--dir", s.dir, "--backoff", "0", "--", exe)
	up = func(since time.Time) (found pairguard.Event) {
		s.Helper()
		s.until("the plain peer is up", func() bool {
			for _, e := range must(s.folder.Events())(s) {
				if e.Kind == pairguard.PeerUp && e.Time.After(since) {
					found = e
					return true
				}
			}
			return false
		})
		return found
	}
	return s, guard, up
}

func TestPlainPeerIsGuardedAgainstDeath(t *testing.T) {
	s, guard, up := plainPair(t)
	pid := up(time.Time{}).PeerPID
	for range times(2, 10) {
		old := s.open(pid)
		killed := time.Now()
		_ = old.Kill()
		e := up(killed)
		if e.PeerPID == pid {
			t.Fatalf("%+v, but process %d was killed", e, pid)
		}
		pid = e.PeerPID
	}
	members := must(s.folder.Members(s.ctx, "qt:pgA"))(s)
	if len(members) != 1 || !members[0].Plain || !members[0].GuardsHang || members[0].PeerPID != pid {
		t.Errorf("members are %+v, want a plain peer, process %d", members, pid)
	}
	plain := s.open(pid)
	s.stop()
	s.gone(plain)
	s.gone(guard.Handle)
}

// A healthy one is left alone, although it disconnects our link now and then; one
// that hangs is replaced, after the 5 s that it has in any case.
func TestPlainPeerIsGuardedAgainstHanging(t *testing.T) {
	s, _, up := plainPair(t)
	pid := up(time.Time{}).PeerPID
	for over := time.Now().Add(time.Duration(times(7, 20)) * time.Second); time.Now().Before(over); {
		if n := s.count("qt:pgA", pairguard.PeerSuspect) + s.count("qt:pgA", pairguard.PeerDead); n != 0 {
			t.Fatal("a healthy plain peer was suspected")
		}
	}
	old := s.open(pid)
	frozen := time.Now()
	if err := old.Freeze(); err != nil {
		t.Fatal(err)
	}
	e := up(frozen)
	if took := e.Time.Sub(frozen); took < 3*time.Second || took > 5*time.Second+awayLimit {
		t.Errorf("replaced after %v", took)
	}
	s.gone(old)
}
