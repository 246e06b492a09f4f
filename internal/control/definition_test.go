package control

import (
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type jsonText = json.RawMessage

// nowhere is a connection that is only closed.
type nowhere struct{ net.Conn }

func (nowhere) Close() error { return nil }

func valid() Definition {
	d := Default()
	d.Name, d.Command, d.Dir = "web", []string{"/bin/web", "a b", ""}, "/srv"
	return d
}

func TestValidate(t *testing.T) {
	d := valid()
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Definition){
		"name is empty":                       func(d *Definition) { d.Name = "" },
		"the supervisors' own":                func(d *Definition) { d.Name = "Supervisor.1" },
		"command: is empty":                   func(d *Definition) { d.Command = nil },
		`command: "web" is not an absolute`:   func(d *Definition) { d.Command = []string{"web"} },
		"command: \"\\xff\" has a zero byte":  func(d *Definition) { d.Command = []string{"/bin/web", "\xff"} },
		"dir: \"\" is not":                    func(d *Definition) { d.Dir = "" },
		`env: "A=B" cannot`:                   func(d *Definition) { d.Env = map[string]string{"A=B": "c"} },
		`env: "A" cannot`:                     func(d *Definition) { d.Env = map[string]string{"A": "c\x00"} },
		`inherit: "PATH" is not`:              func(d *Definition) { d.Inherit = []string{"PATH"} },
		`restart: "sometimes" is not known`:   func(d *Definition) { d.Restart = "sometimes" },
		"restart: on-watchdog is not support": func(d *Definition) { d.Restart = "on-watchdog" },
		`stop-signal: "SIGTERM" is not known`: func(d *Definition) { d.StopSignal = "SIGTERM" },
		"grace: -1s is out of range":          func(d *Definition) { d.Grace = Duration(-time.Second) },
		"backoff-max: 1m0s is less":           func(d *Definition) { d.Backoff = Duration(time.Hour) },
		"log.file: \"x\" is not":              func(d *Definition) { d.Log.File = "x" },
		"log.size: 100 bytes is out":          func(d *Definition) { d.Log.Size = 100 },
		"log.keep: -1 is out of range":        func(d *Definition) { d.Log.Keep = -1 },
	} {
		d := valid()
		change(&d)
		err := d.Validate()
		var field *FieldError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &field) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// What is missing has its default, also in a list; what is there is kept, also a zero.
func TestDefinitionDefaults(t *testing.T) {
	var p UpParams
	text := `{"programs":[{"name":"web","command":["/bin/web","a b",""],"dir":"/srv","log":{"keep":2}},{"backoff":"0s","later":1}]}`
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	want := valid()
	want.Log.Keep = 2
	if got := p.Programs[0]; !got.Equal(&want) {
		t.Errorf("%+v", got)
	}
	if got := p.Programs[1]; got.Backoff != 0 || got.BackoffMax != DefaultBackoffMax {
		t.Errorf("%+v", got)
	}
	b := encode(t, want)
	var again Definition
	if err := json.Unmarshal([]byte(b), &again); err != nil || encode(t, again) != b {
		t.Errorf("%s is read as %+v, %v", b, again, err)
	}
}

func TestWhatDiffers(t *testing.T) {
	for _, c := range []struct {
		change         func(*Definition)
		equal, restart bool
	}{
		{func(d *Definition) {}, true, false},
		{func(d *Definition) { d.Inherit = []string{"A=1"} }, true, false},
		{func(d *Definition) { d.Env = map[string]string{} }, true, false},
		{func(d *Definition) { d.Grace++ }, false, false},
		{func(d *Definition) { d.Log.Size++ }, false, false},
		{func(d *Definition) { d.Restart = RestartNo }, false, false},
		{func(d *Definition) { d.Command[1] = "x" }, false, true},
		{func(d *Definition) { d.Dir = "/" }, false, true},
		{func(d *Definition) { d.Env = map[string]string{"A": "1"} }, false, true},
	} {
		one, two := valid(), valid()
		c.change(&two)
		if one.Equal(&two) != c.equal || two.NeedsRestart(&one) != c.restart {
			t.Errorf("%+v: equal %v, restart %v", two, one.Equal(&two), two.NeedsRestart(&one))
		}
	}
}

func TestEnviron(t *testing.T) {
	d := Definition{Inherit: []string{"A=1", "B=2=3", "C="}, Env: map[string]string{"Z": "", "B": "own"}}
	if got, want := d.Environ(), []string{"A=1", "C=", "B=own", "Z="}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLogFile(t *testing.T) {
	d := valid()
	folder := filepath.Join(t.TempDir(), "pg")
	if got, want := d.LogFile(folder), filepath.Join(folder, "logs", "web.log"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	d.Log.File = filepath.Join(folder, "x")
	if got := d.LogFile(folder); got != d.Log.File {
		t.Errorf("%s, want %s", got, d.Log.File)
	}
}
