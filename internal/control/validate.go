package control

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
)

const (
	// maxDuration keeps sums of times far from overflowing.
	maxDuration = Duration(10 * 365 * 24 * time.Hour)
	minLogSize  = 4096
	maxLogSize  = 1 << 50
	maxLogKeep  = 1000
)

// laterRestarts are the conditions of the design that are not written yet.
var laterRestarts = []string{"on-success", "on-abnormal", "on-abort", "on-watchdog"}

// stopSignals are the signals that a program can be asked to end with.
var stopSignals = []string{"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "ABRT", "KILL"}

// FieldError says which part of a definition is wrong, by its name in the file.
type FieldError struct {
	Field string // such as backoff-max or log.size; empty: the whole
	Err   error
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Err.Error()
	}
	return e.Field + ": " + e.Err.Error()
}

func (e *FieldError) Unwrap() error { return e.Err }

func wrong(field, format string, args ...any) error {
	return &FieldError{Field: field, Err: fmt.Errorf(format, args...)}
}

// Validate returns nil or a *FieldError that says what is wrong and what would be right.
func (d *Definition) Validate() error {
	for _, check := range []func() error{d.checkName, d.checkCommand, d.checkEnvironment, d.checkPolicy, d.checkLog} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// CheckName returns nil when a program may be called so.
func CheckName(name string) error {
	if err := pairdir.CheckOrdinary(name); err != nil {
		return err
	}
	if slices.Contains([]string{Active, First, Second}, strings.ToLower(name)) {
		return fmt.Errorf("name %q: is the supervisors' own; choose another", name)
	}
	return nil
}

func (d *Definition) checkName() error {
	if err := CheckName(d.Name); err != nil {
		return &FieldError{Err: err}
	}
	return nil
}

func (d *Definition) checkCommand() error {
	if len(d.Command) == 0 || d.Command[0] == "" {
		return wrong("command", "is empty: name an executable")
	}
	if !filepath.IsAbs(d.Command[0]) {
		return wrong("command", "%q is not an absolute path: resolve it first", d.Command[0])
	}
	for _, word := range d.Command {
		if strings.ContainsRune(word, 0) {
			return wrong("command", "%q has a zero byte, which no argument can have", word)
		}
	}
	if !filepath.IsAbs(d.Dir) || strings.ContainsRune(d.Dir, 0) {
		return wrong("dir", "%q is not an absolute path", d.Dir)
	}
	return nil
}

func (d *Definition) checkEnvironment() error {
	for key, value := range d.Env {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.ContainsRune(value, 0) {
			return wrong("env", "%q cannot be a variable: its name may not be empty or contain '=', and nothing may contain a zero byte", key)
		}
	}
	for _, entry := range d.Inherit {
		// Windows has variables such as "=C:".
		if i := strings.IndexByte(entry, '='); i < 0 || strings.ContainsRune(entry, 0) {
			return wrong("inherit", "%.40q is not KEY=VALUE", entry)
		}
	}
	return nil
}

func (d *Definition) checkPolicy() error {
	switch {
	case slices.Contains(laterRestarts, d.Restart):
		return wrong("restart", "%s is not supported yet: use always, on-failure or no", d.Restart)
	case !slices.Contains([]string{RestartAlways, RestartOnFailure, RestartNo}, d.Restart):
		return wrong("restart", "%q is not known: use always, on-failure or no", d.Restart)
	case !slices.Contains(stopSignals, d.StopSignal):
		return wrong("stop-signal", "%q is not known: use one of %s", d.StopSignal, strings.Join(stopSignals, ", "))
	}
	for _, f := range []struct {
		name  string
		value Duration
	}{{"backoff", d.Backoff}, {"backoff-max", d.BackoffMax}, {"stable", d.Stable}, {"grace", d.Grace}} {
		if f.value < 0 || f.value > maxDuration {
			return wrong(f.name, "%v is out of range: use 0s to %v", f.value, maxDuration)
		}
	}
	if d.BackoffMax < d.Backoff {
		return wrong("backoff-max", "%v is less than the backoff, %v", d.BackoffMax, d.Backoff)
	}
	return nil
}

func (d *Definition) checkLog() error {
	switch l := d.Log; {
	case l.File != "" && (!filepath.IsAbs(l.File) || strings.ContainsRune(l.File, 0)):
		return wrong("log.file", "%q is not an absolute path", l.File)
	case l.Size < minLogSize || l.Size > maxLogSize:
		return wrong("log.size", "%d bytes is out of range: use at least %d bytes, such as 10MB", l.Size, minLogSize)
	case l.Keep < 1 || l.Keep > maxLogKeep:
		return wrong("log.keep", "%d is out of range: use 1 to %d", l.Keep, maxLogKeep)
	}
	return nil
}
