package control

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

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
		if !isText(word) {
			return wrong("command", "%q has a zero byte or is not UTF-8", word)
		}
	}
	if !filepath.IsAbs(d.Dir) || !isText(d.Dir) {
		return wrong("dir", "%q is not an absolute path in UTF-8", d.Dir)
	}
	return nil
}

// isText: what no zero byte ends too early, and what JSON leaves as it is.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func (d *Definition) checkEnvironment() error {
	for key, value := range d.Env {
		if key == "" || strings.Contains(key, "=") || !isText(key) || !isText(value) {
			return wrong("env", "%q cannot be a variable: its name may not be empty or contain '=', and nothing a zero byte or what is not UTF-8", key)
		}
	}
	for _, entry := range d.Inherit {
		// Windows has variables such as "=C:".
		if i := strings.IndexByte(entry, '='); i < 0 || !isText(entry) {
			return wrong("inherit", "%.40q is not KEY=VALUE in UTF-8", entry)
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
	case l.File != "" && (!filepath.IsAbs(l.File) || !isText(l.File)):
		return wrong("log.file", "%q is not an absolute path in UTF-8", l.File)
	case l.Size < minLogSize || l.Size > maxLogSize:
		return wrong("log.size", "%d bytes is out of range: use at least %d bytes, such as 10MB", l.Size, minLogSize)
	case l.Keep < 0 || l.Keep > maxLogKeep:
		return wrong("log.keep", "%d is out of range: use 0 to %d", l.Keep, maxLogKeep)
	}
	return nil
}
