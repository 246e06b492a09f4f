package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Duration is a time.Duration that is written as in the file and the flags: "1.5s".
type Duration time.Duration

// String is the form of flags and file.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes it as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write a number with a unit, such as 500ms, 10s or 2m", text)
	}
	*d = Duration(v)
	return nil
}

// When a program is started again after its end.
const (
	RestartAlways    = "always"
	RestartOnFailure = "on-failure"
	RestartNo        = "no"
)

// Defaults of a [Definition].
const (
	DefaultBackoff    = Duration(time.Second)
	DefaultBackoffMax = Duration(time.Minute)
	DefaultStable     = Duration(time.Minute)
	DefaultGrace      = Duration(5 * time.Second)
	DefaultStopSignal = "TERM"
	DefaultLogSize    = 10_000_000
	DefaultLogKeep    = 5
)

// Definition says what a program is and how it is kept running. Whoever makes one
// resolves the paths: those who run it have another working directory and PATH.
type Definition struct {
	Name string `json:"name"`
	// Command is the absolute path of the executable and its arguments.
	Command []string `json:"command"`
	// Dir is the working directory, absolute.
	Dir string `json:"dir"`
	// Env are the variables that the definition itself sets, over Inherit.
	Env map[string]string `json:"env"`
	// Inherit is the environment of whoever defined the program, as KEY=VALUE. It is
	// no part of what is compared: the same file from another shell changes nothing.
	Inherit []string `json:"inherit,omitempty"`

	Restart    string   `json:"restart"`
	Backoff    Duration `json:"backoff"` // 0: every start is immediate
	BackoffMax Duration `json:"backoff_max"`
	Stable     Duration `json:"stable"`
	Grace      Duration `json:"grace"`
	StopSignal string   `json:"stop_signal"` // without SIG
	Log        Log      `json:"log"`
}

// Log says where the output of a program goes.
type Log struct {
	// File is an absolute path; empty: NAME.log in the folder of logs.
	File string `json:"file"`
	Size int64  `json:"size"` // bytes after which it is rotated
	Keep int    `json:"keep"` // how many rotated files stay
}

// Default is a Definition of nothing, with the default of everything that has one.
func Default() Definition {
	return Definition{
		Restart: RestartAlways, Backoff: DefaultBackoff, BackoffMax: DefaultBackoffMax, Stable: DefaultStable,
		Grace: DefaultGrace, StopSignal: DefaultStopSignal, Log: Log{Size: DefaultLogSize, Keep: DefaultLogKeep},
	}
}

// bare is a Definition whose JSON is read as it stands.
type bare Definition

// UnmarshalJSON gives what is missing its default. Unknown keys are ignored here,
// so that an older version can read what a newer one stored; requests are checked
// for them by the server.
func (d *Definition) UnmarshalJSON(b []byte) error {
	v := bare(Default())
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*d = Definition(v)
	return nil
}

// Environ is the whole environment of the program, without what the supervisor adds.
func (d *Definition) Environ() []string {
	env := make([]string, 0, len(d.Inherit)+len(d.Env))
	for _, entry := range d.Inherit {
		key, _, _ := strings.Cut(entry, "=")
		if _, own := d.Env[key]; !own {
			env = append(env, entry)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.Env)) {
		env = append(env, key+"="+d.Env[key])
	}
	return env
}

// Root's default folder is in memory, and its logs are with those of the system.
const rootFolder, rootLogs = "/run/pairguard", "/var/log/pairguard"

// LogFile is where the output goes of a program whose supervisors' folder that is.
func (d *Definition) LogFile(folder string) string {
	switch {
	case d.Log.File != "":
		return d.Log.File
	case folder == rootFolder:
		return filepath.Join(rootLogs, d.Name+".log")
	}
	return filepath.Join(folder, "logs", d.Name+".log")
}

// Equal reports whether both say the same, whoever said it.
func (d *Definition) Equal(o *Definition) bool {
	return !d.NeedsRestart(o) && d.Name == o.Name && d.Restart == o.Restart && d.Backoff == o.Backoff && d.BackoffMax == o.BackoffMax &&
		d.Stable == o.Stable && d.Grace == o.Grace && d.StopSignal == o.StopSignal && d.Log == o.Log
}

// NeedsRestart reports whether a process that was started by o is not the one that
// d means.
func (d *Definition) NeedsRestart(o *Definition) bool {
	return !slices.Equal(d.Command, o.Command) || d.Dir != o.Dir || !maps.Equal(d.Env, o.Env)
}
