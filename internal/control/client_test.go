package control

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/ipc"
)

// A supervisor that dies in the middle of a request: its successor is asked the same.
func TestClientAsksTheSuccessor(t *testing.T) {
	first := &fakeSupervisor{record: true}
	s := open(t, first, func(l *limits, _ *netListener) { l.farewell = 0 })
	second := &fakeSupervisor{record: true, answers: map[string]jsonText{"run": jsonText(`{"name":"web","pid":7}`)}}
	var died atomic.Bool
	first.before = func(ctx context.Context, _ string) {
		if died.CompareAndSwap(false, true) {
			end := s.end
			go func() { end(); s.listen(t, second) }()
		}
		<-ctx.Done()
	}
	first.refusal = errors.New("never heard: the connection is gone")
	client := &Client{Connect: s.connect, Launch: noLaunch}
	params := RunParams{Program: Default(), Request: "r"}
	params.Program.Name, params.Program.Command, params.Program.Dir = "web", []string{"/bin/web"}, "/"
	got, err := client.Run(t.Context(), params)
	if err != nil || got.PID != 7 {
		t.Fatalf("%+v, %v", got, err)
	}
	if one, two := encode(t, first.asked()[0]), encode(t, second.asked()[0]); one != two {
		t.Errorf("first asked   %s\nthen          %s", one, two)
	}
}

// noLaunch: between two servers of a test nobody listens for a moment.
func noLaunch(context.Context) error { return nil }

// Supervisors that are ending refuse, then nobody listens, then they are started.
func TestClientStartsSupervisors(t *testing.T) {
	ending := &fakeSupervisor{refusal: Errorf(CodeEnding, "the supervisors are ending")}
	s := open(t, ending)
	asked := make(chan struct{})
	var once atomic.Bool
	ending.before = func(context.Context, string) {
		if once.CompareAndSwap(false, true) {
			close(asked)
		}
	}
	end := s.end
	go func() { <-asked; end() }()
	launches := 0
	client := &Client{Connect: s.connect, Launch: func(context.Context) error {
		launches++
		s.listen(t, &fakeSupervisor{answers: map[string]jsonText{"status": jsonText(`{"guarded":true}`)}})
		return nil
	}}
	got, err := client.Status(t.Context(), NamesParams{})
	if err != nil || !got.Guarded || launches != 1 {
		t.Errorf("%+v, %v, %d launches", got, err, launches)
	}
}

func TestClientGivesUp(t *testing.T) {
	dir := t.TempDir()
	absent := Connector(ipc.Address(filepath.Join(dir, "s")))
	for what, c := range map[string]struct {
		client *Client
		want   string
	}{
		"nobody listens":       {&Client{Connect: absent}, "nobody listens"},
		"they cannot start":    {&Client{Connect: absent, Launch: func(context.Context) error { return errors.New("no such exe") }}, "no such exe"},
		"they start and die":   {&Client{Connect: absent, Launch: noLaunch, patience: 20 * time.Millisecond}, "no supervisor has answered"},
		"another user's there": {&Client{Connect: func(context.Context) (Conn, error) { return netConn{stranger: true, Conn: nowhere{}}, nil }}, "trusted"},
	} {
		_, err := c.client.Status(t.Context(), NamesParams{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
	_, err := (&Client{Connect: absent}).Status(t.Context(), NamesParams{})
	if !errors.Is(err, ipc.ErrAbsent) {
		t.Errorf("nobody listens: %v", err)
	}
}

// An answer that is an error is not asked again; a cancelled question ends.
func TestClientTakesAnAnswer(t *testing.T) {
	begun := make(chan struct{})
	fake := &fakeSupervisor{refusal: Errorf(CodeTaken, "the name web is taken"), before: func(ctx context.Context, m string) {
		if m == "wait" {
			close(begun)
			<-ctx.Done()
		}
	}}
	s := open(t, fake)
	client := &Client{Connect: s.connect}
	if _, err := client.Start(t.Context(), NamesParams{}); !IsCode(err, CodeTaken) {
		t.Error(err)
	}
	if n := len(fake.asked()); n != 1 {
		t.Errorf("asked %d times", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := client.Wait(ctx, WaitParams{Name: "web"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	big := NamesParams{Names: []string{strings.Repeat("x", MaxLine)}}
	if _, err := client.Start(t.Context(), big); err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("%.200v", err)
	}
}
