package proc

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const roleVariable = "PAIRGUARD_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "wait":
		time.Sleep(time.Minute)
		return
	case "exit 7":
		os.Exit(7)
	}
	os.Exit(m.Run())
}

func startRole(t *testing.T, role string) *Handle {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h, err := Start(Spec{Path: exe, Dir: t.TempDir(), Env: append(os.Environ(), roleVariable+"="+role)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Kill(); wantDone(t, h); h.Close() })
	return h
}

func wantDone(t *testing.T, h *Handle) {
	t.Helper()
	select {
	case <-h.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("%v: Done is not closed, want proof of its death", h.ID())
	}
}

func TestKillAndReopen(t *testing.T) {
	h := startRole(t, "wait")
	again, err := Reopen(h.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	other := h.ID()
	other.Start++
	if _, err := Reopen(other); !errors.Is(err, ErrGone) {
		t.Errorf("Reopen with another start: %v, want ErrGone", err)
	}
	if h.isDone() {
		t.Fatal("Done is closed, want alive")
	}
	if err := again.Kill(); err != nil {
		t.Fatal(err)
	}
	wantDone(t, h)
	wantDone(t, again)
	if err := h.Kill(); err != nil {
		t.Errorf("Kill of a dead process: %v, want nil", err)
	}
}

func TestExitCode(t *testing.T) {
	h := startRole(t, "exit 7")
	wantDone(t, h)
	if e := h.Exit(); e != (ExitStatus{Known: true, Code: 7}) {
		t.Errorf("exit is %v, want exit code 7", e)
	}
}

func TestClosedHandleIsNotDone(t *testing.T) {
	h := startRole(t, "wait")
	again, err := Open(h.PID())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	again.Close()
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	wantDone(t, h)
	if again.isDone() {
		t.Error("Done of a closed handle is closed, want open")
	}
	if err := again.Kill(); !errors.Is(err, ErrClosed) {
		t.Errorf("Kill after Close: %v, want ErrClosed", err)
	}
}

func TestStartMissing(t *testing.T) {
	if _, err := Start(Spec{Path: filepath.Join(t.TempDir(), "none.exe")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("starting nothing: %v, want ErrNotExist", err)
	}
}
