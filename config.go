package pairguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pairguard/pairguard/internal/proc"
)

// Defaults of the zero [Config].
const (
	DefaultHeartbeat    = time.Second
	DefaultTimeout      = 2 * time.Second
	DefaultUnsureLimit  = 30 * time.Second
	DefaultStartTimeout = 10 * time.Second
	DefaultGrace        = 5 * time.Second
	DefaultBackoff      = 500 * time.Millisecond
	DefaultBackoffMax   = 2 * time.Second
	DefaultStable       = 10 * time.Second
)

// Config says who guards whom, and how. Self, Peer and Command are needed; of
// every other field the zero value means its default. A Config is read by [New]
// and not kept.
type Config struct {
	// Self is the name of this process: letters, digits, '.', '_', '-', at most
	// 64. A name that begins with '/' (\\.\pipe\ on Windows) is an address as it
	// is; "qt:NAME" is where Qt's QLocalServer puts NAME.
	Self string
	// Peer is the name of the other process, in the same form.
	Peer string
	// Command starts the peer: an executable and its arguments. The executable is
	// resolved to an absolute path by New, so that a later change of the working
	// directory or of PATH cannot break a revival.
	Command []string

	// Dir is the folder where the two meet. Default: $PAIRGUARD_DIR, else a folder
	// that depends on the user alone (see docs/operations.md). Both members need
	// the same one.
	Dir string
	// WorkDir is the working directory of a revived peer. Default: the one of this
	// process when New is called.
	WorkDir string
	// Env is the environment of a revived peer. Default: that of this process when
	// New is called. pairguard adds variables of its own that begin with PAIRGUARD_.
	Env []string

	// Heartbeat is how often a sign of life is sent. Default 1 s; at least 10 ms.
	Heartbeat time.Duration
	// Timeout is the silence that makes a suspect. Default 2 s, or twice Heartbeat
	// if that is more; it must be longer than Heartbeat.
	Timeout time.Duration
	// UnsureLimit is the silence after which a peer is judged of which cannot be
	// seen whether it can run. Default 30 s, or Timeout if that is more.
	UnsureLimit time.Duration
	// StarveLimit is the silence after which a peer is judged although it gets no
	// processor time. Default 0, or negative: never (see docs/judging.md).
	StarveLimit time.Duration
	// Dump makes a hung peer say what it was doing before it is killed: it gets
	// SIGABRT and a second to end, and what it prints is kept as NAME.dump in the
	// folder. A Go program prints its goroutines. Not on Windows.
	Dump bool
	// StartTimeout is how long a started peer may stay silent before that is
	// reported. Default 10 s.
	StartTimeout time.Duration
	// Grace is how long the peer has to end after a stop before it is killed.
	// Default 5 s.
	Grace time.Duration

	// Backoff is the delay before the second revival in a row; the first is
	// immediate, each further one waits twice as long, up to BackoffMax. Default
	// 500 ms. Negative: always at once.
	Backoff time.Duration
	// BackoffMax bounds the delay. Default 2 s.
	BackoffMax time.Duration
	// Stable is how long a peer must have lived for its past deaths to be
	// forgiven. Default 10 s.
	Stable time.Duration

	// Healthy, when set, is called once every Heartbeat, in a goroutine of its own
	// and never twice at a time; its context ends after Timeout. The heartbeat is
	// sent when it returns nil. When it returns an error or does not return, this
	// process is not healthy and the peer replaces it after Timeout.
	Healthy func(context.Context) error

	// OnEvent, when set, is called with every event, one after the other, in a
	// goroutine of its own. If it is slow, up to 256 events wait and further ones
	// are dropped; they stand in the event log all the same.
	OnEvent func(Event)
	// Logger gets what happens inside, a line an event; nil: nothing is logged.
	Logger *slog.Logger
}

// settings is a Config after every default and check.
type settings struct {
	Config
	executable string
	temporary  bool     // the executable lies in a temporary folder
	notes      []string // what a person should know from the start
}

// resolve fills in the defaults and rejects nonsense, in one place.
func (c Config) resolve() (settings, error) {
	s := settings{Config: c}
	if err := s.resolveNames(); err != nil {
		return s, err
	}
	if err := s.resolveTimes(); err != nil {
		return s, err
	}
	return s, s.resolveWorld()
}

func (s *settings) resolveNames() error {
	switch {
	case s.Self == "":
		return errors.New("pairguard: Config.Self is empty: give this process a name")
	case s.Peer == "":
		return errors.New("pairguard: Config.Peer is empty: name the other process")
	case s.Self == s.Peer:
		return fmt.Errorf("pairguard: Self and Peer are both %q: the two need different names", s.Self)
	case len(s.Command) == 0 || s.Command[0] == "":
		return errors.New("pairguard: Config.Command is empty: say how the peer is started")
	}
	return nil
}

func (s *settings) resolveTimes() error {
	orDefault(&s.Heartbeat, DefaultHeartbeat)
	orDefault(&s.Timeout, max(DefaultTimeout, 2*s.Heartbeat))
	orDefault(&s.UnsureLimit, max(DefaultUnsureLimit, s.Timeout))
	s.StarveLimit = max(s.StarveLimit, 0)
	orDefault(&s.StartTimeout, DefaultStartTimeout)
	orDefault(&s.Grace, DefaultGrace)
	orDefault(&s.Backoff, DefaultBackoff)
	orDefault(&s.BackoffMax, max(DefaultBackoffMax, s.Backoff))
	orDefault(&s.Stable, DefaultStable)
	if s.Backoff < 0 {
		s.Backoff = 0
	}
	switch {
	case s.Heartbeat < 10*time.Millisecond:
		return fmt.Errorf("pairguard: heartbeat %v is too short: use at least 10ms", s.Heartbeat)
	case s.Timeout <= s.Heartbeat:
		return fmt.Errorf("pairguard: timeout %v must be longer than the heartbeat %v: twice as long is a good choice", s.Timeout, s.Heartbeat)
	case s.UnsureLimit < s.Timeout:
		return fmt.Errorf("pairguard: unsure-limit %v is shorter than the timeout %v: a peer is not looked at before that", s.UnsureLimit, s.Timeout)
	case s.StarveLimit > 0 && s.StarveLimit < s.Timeout:
		return fmt.Errorf("pairguard: starve-limit %v is shorter than the timeout %v: a peer is not looked at before that", s.StarveLimit, s.Timeout)
	case s.StartTimeout < 0 || s.Grace < 0 || s.BackoffMax < 0 || s.Stable < 0:
		return errors.New("pairguard: start timeout, grace, backoff-max and stable cannot be negative")
	case s.BackoffMax < s.Backoff:
		return fmt.Errorf("pairguard: backoff-max %v is below backoff %v: raise it", s.BackoffMax, s.Backoff)
	}
	return nil
}

func (s *settings) resolveWorld() error {
	if s.Env == nil {
		s.Env = os.Environ()
	}
	if err := s.resolveWorkDir(); err != nil {
		return err
	}
	var err error
	s.executable, s.temporary, err = proc.Resolve(s.Command[0])
	if err == nil {
		return nil
	}
	err = fmt.Errorf("the peer %s cannot be started: %w", s.Peer, err)
	if abs, absErr := filepath.Abs(s.Command[0]); absErr == nil && os.Getenv(revivalVariable) != "" {
		// A person has to know at once. Who was revived comes up all the same: its
		// name is guarded again, and the executable may come back.
		s.executable, s.notes = abs, append(s.notes, err.Error())
		return nil
	}
	return fmt.Errorf("pairguard: %w", err)
}

// resolveWorkDir falls back to the root folder where there is none any more: a
// program that comes back elsewhere is better than one that does not.
func (s *settings) resolveWorkDir() error {
	if s.WorkDir == "" {
		here, err := os.Getwd()
		if err != nil {
			here = rootFolder()
			s.notes = append(s.notes, "the working directory is gone: "+s.Peer+" will be started in "+here)
		}
		s.WorkDir = here
	}
	abs, err := filepath.Abs(s.WorkDir)
	if err != nil {
		return fmt.Errorf("pairguard: working directory %q: %w", s.WorkDir, err)
	}
	s.WorkDir = abs
	return nil
}

// rootFolder is a working directory that is always there.
func rootFolder() string { return filepath.VolumeName(os.TempDir()) + string(filepath.Separator) }

func orDefault(d *time.Duration, fallback time.Duration) {
	if *d == 0 {
		*d = fallback
	}
}
