package file

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/proc"
)

// later are the keys that are designed and not written yet.
var later = map[string]bool{
	"env-file": true, "env-clean": true, "user": true, "group": true, "start-timeout": true, "success-exit-status": true,
	"restart-prevent-exit-status": true, "restart-force-exit-status": true, "watchdog": true, "ready": true, "check": true, "after": true,
}

// keys are those of a program, in the order of the documentation.
var keys = []string{"command", "dir", "env", "restart", "backoff", "backoff-max", "stable", "grace", "stop-signal", "log"}

// readProgram reads the program that e names.
func readProgram(e entry, where place) (Program, error) {
	p := Program{Definition: control.Default()}
	p.Name = e.key
	if err := control.CheckName(e.key); err != nil {
		return p, e.at.wrong("%v", err)
	}
	table, err := e.value.table()
	if err != nil {
		return p, err
	}
	given := map[string]node{}
	for _, k := range table {
		switch {
		case later[k.key]:
			return p, k.at.wrong("%s is not supported yet: leave it out", k.key)
		case !slices.Contains(keys, k.key):
			return p, k.at.wrong("unknown key %s: %s", k.key, hint(k.key, keys))
		}
		given[k.key] = k.value
	}
	if _, ok := given["command"]; !ok {
		return p, e.at.wrong("%s has no command: add 'command: [./server, --port, \"8080\"]'", e.key)
	}
	// In an order of their own: where a command is depends on dir.
	for _, read := range []struct {
		key string
		do  func(node) error
	}{
		{"dir", func(n node) error { return p.readDir(n, where.home) }},
		{"command", p.readCommand},
		{"env", p.readEnv},
		{"restart", text(&p.Restart)},
		{"backoff", duration(&p.Backoff)},
		{"backoff-max", duration(&p.BackoffMax)},
		{"stable", duration(&p.Stable)},
		{"grace", duration(&p.Grace)},
		{"stop-signal", p.readSignal},
		{"log", func(n node) error { return p.readLog(n, where.logs) }},
	} {
		n, ok := given[read.key]
		switch {
		case ok:
			if err := read.do(n); err != nil {
				return p, err
			}
		case read.key == "dir":
			p.Dir = where.home
		case read.key == "backoff-max":
			p.BackoffMax = max(p.BackoffMax, p.Backoff)
		}
	}
	return p, p.check(e, given)
}

// check finds what only shows when all is read, and says in which line it is.
func (p *Program) check(e entry, given map[string]node) error {
	err := p.Validate()
	var field *control.FieldError
	if !errors.As(err, &field) {
		return err
	}
	if n, ok := given[strings.Split(field.Field, ".")[0]]; ok {
		return n.wrong("%v", field.Err)
	}
	return e.at.wrong("%s: %v", e.key, err)
}

// hint says what was probably meant.
func hint(word string, known []string) string {
	for _, k := range known {
		if strings.EqualFold(strings.ReplaceAll(word, "_", "-"), k) || strings.HasPrefix(k, word) || distance(word, k) <= 2 {
			return "did you mean " + k + "?"
		}
	}
	return "known are " + strings.Join(known, ", ")
}

// distance is how many letters have to be changed, added or removed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func (p *Program) readDir(n node, home string) error {
	dir, err := n.text()
	if err != nil {
		return err
	}
	if strings.HasPrefix(dir, "~") {
		return n.wrong("%q: ~ means something to a shell alone: write the path out", dir)
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(home, dir)
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return n.wrong("%v: make it, or name another", err)
	case !info.IsDir():
		return n.wrong("%s is not a folder", dir)
	}
	p.Dir = dir
	return nil
}

func (p *Program) readCommand(n node) error {
	values, isList, err := n.list()
	if err != nil {
		return err
	}
	var words []string
	for _, v := range values {
		word, err := v.text()
		if err != nil {
			return err
		}
		words = append(words, word)
	}
	if !isList {
		line, err := n.text()
		if err != nil {
			return err
		}
		if words, err = splitWords(line); err != nil {
			return n.wrong("%v", err)
		}
	}
	if len(words) == 0 || words[0] == "" {
		return n.wrong("is empty: name an executable")
	}
	p.Command, p.Temporary, err = Command(words, p.Dir)
	if err != nil {
		return n.wrong("%v", err)
	}
	return nil
}

// Command returns the words with the absolute path of the executable, which was
// found by PATH, or from dir if it has a separator. temporary tells that it lies in a
// temporary folder.
func Command(words []string, dir string) (command []string, temporary bool, err error) {
	exe := words[0]
	if filepath.Base(exe) != exe && !filepath.IsAbs(exe) {
		exe = filepath.Join(dir, exe)
	}
	abs, temporary, err := proc.Resolve(exe)
	if err != nil {
		return nil, false, err
	}
	return append([]string{abs}, words[1:]...), temporary, nil
}

func (p *Program) readEnv(n node) error {
	table, err := n.table()
	if err != nil {
		return err
	}
	p.Env = map[string]string{}
	for _, e := range table {
		value, err := e.value.text()
		if err != nil {
			return err
		}
		p.Env[e.key] = value
	}
	return nil
}

// readSignal takes SIGTERM for TERM.
func (p *Program) readSignal(n node) error {
	name, err := n.text()
	p.StopSignal = SignalName(name)
	return err
}

// SignalName is the form of a signal's name in definitions.
func SignalName(name string) string { return strings.TrimPrefix(strings.ToUpper(name), "SIG") }

func (p *Program) readLog(n node, logs string) error {
	table, err := n.table()
	if err != nil {
		return err
	}
	for _, e := range table {
		value, err := e.value.text()
		if err != nil {
			return err
		}
		switch e.key {
		case "file":
			if value == "" {
				return e.value.wrong("is empty: name a file, or leave it out for NAME.log")
			}
			if p.Log.File = value; !filepath.IsAbs(value) {
				p.Log.File = filepath.Join(logs, value)
			}
		case "size":
			if p.Log.Size, err = parseSize(value); err != nil {
				return e.value.wrong("%v", err)
			}
		case "keep":
			if p.Log.Keep, err = strconv.Atoi(value); err != nil {
				return e.value.wrong("%q is not a whole number: write how many older files stay, such as 5", value)
			}
		case "stderr":
			return e.at.wrong("stderr is not supported yet: both outputs go to one file")
		default:
			return e.at.wrong("unknown key %s: %s", e.key, hint(e.key, []string{"file", "size", "keep"}))
		}
	}
	return nil
}

func text(into *string) func(node) error {
	return func(n node) (err error) {
		*into, err = n.text()
		return err
	}
}

func duration(into *control.Duration) func(node) error {
	return func(n node) error {
		value, err := n.text()
		if err != nil {
			return err
		}
		d, err := time.ParseDuration(value)
		if _, number := strconv.ParseFloat(value, 64); err != nil && number == nil {
			return n.wrong("%s has no unit: write %ss, or %sms", value, value, value)
		}
		if err != nil {
			return n.wrong("%q is not a duration: write a number with a unit, such as 500ms, 10s or 2m", value)
		}
		*into = control.Duration(d)
		return nil
	}
}
