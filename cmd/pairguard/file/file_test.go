//go:build unix

package file

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/control"
)

// home is a folder with an executable ./server and a folder srv.
func home(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{"server": 0o755, "srv/web": 0o755, "data": 0o644} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"), mode)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, dir, text string) ([]Program, error) {
	t.Helper()
	path := filepath.Join(dir, "pairguard.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	programs, err := Read(path, "/logs")
	if err != nil {
		err = errors.New(strings.TrimPrefix(err.Error(), dir+"/"))
	}
	return programs, err
}

func TestFile(t *testing.T) {
	dir := home(t)
	programs, err := read(t, dir, `# what runs
programs:
  web:
    command: [./web, --port, 8080, "two words", ""]
    dir: srv
    env: {MODE: prod, PORT: 0080, DEBUG: true, EMPTY: ""}
    restart: on-failure
    backoff: 2m
    stable: 1h30m
    grace: 0s
    stop-signal: SIGINT
    log: {file: web/out.log, size: 1.5MiB, keep: 0}
  job:
    command: >
      sh -c 'echo "$HOME" | wc'
      a\ b "c \"d\" \n"
    restart: no
    env: &env
      A: |
        two
        lines
  again:
    command: &exe [./server]
    env: *env
  last:
    command: *exe
    log:
      file: /var/log/last.log
`)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Program{}
	for _, p := range programs {
		byName[p.Name] = p
	}
	want := control.Default()
	want.Name, want.Command, want.Dir = "web", []string{dir + "/srv/web", "--port", "8080", "two words", ""}, dir+"/srv"
	want.Env = map[string]string{"MODE": "prod", "PORT": "0080", "DEBUG": "true", "EMPTY": ""}
	want.Restart, want.StopSignal, want.Grace = "on-failure", "INT", 0
	want.Backoff, want.BackoffMax, want.Stable = control.Duration(2*time.Minute), control.Duration(2*time.Minute), control.Duration(90*time.Minute)
	want.Log = control.Log{File: "/logs/web/out.log", Size: 3 << 19, Keep: 0}
	if got := byName["web"]; !got.Equal(&want) || !got.Temporary {
		t.Errorf("web is %+v\nwant    %+v", got, want)
	}
	job := byName["job"]
	if !slices.Equal(job.Command[1:], []string{"-c", `echo "$HOME" | wc`, "a b", `c "d" \n`}) || filepath.Base(job.Command[0]) != "sh" ||
		job.Temporary || job.Restart != "no" || job.Dir != dir || job.Env["A"] != "two\nlines\n" {
		t.Errorf("job is %+v", job)
	}
	if again, last := byName["again"], byName["last"]; !maps.Equal(again.Env, job.Env) || !slices.Equal(again.Command, last.Command) ||
		last.Log.File != "/var/log/last.log" || last.Log.Size != control.DefaultLogSize {
		t.Errorf("again is %+v, last is %+v", again, last)
	}
}

func TestFileIsReadInItsOrder(t *testing.T) {
	programs, err := read(t, home(t), "programs:\n  z: {command: ./server}\n  a: {command: ./server}\n")
	if err != nil || len(programs) != 2 || programs[0].Name != "z" || programs[1].Name != "a" {
		t.Errorf("%+v, %v", programs, err)
	}
	programs, err = read(t, home(t), "programs: {}\n")
	if err != nil || len(programs) != 0 {
		t.Errorf("%+v, %v", programs, err)
	}
}

// Each mistake: the line it is in, and what would be right.
func TestMistakes(t *testing.T) {
	dir := home(t)
	const web = "programs:\n  web:\n    command: ./server\n"
	for text, want := range map[string]string{
		"":                             "1: there is nothing here",
		"\x00":                         "1: it is not a text",
		"[":                            "1: it is not YAML",
		"programs:\n":                  "1: programs: there is nothing here",
		"programs: 5\n":                "1: programs: write keys",
		"{}":                           "1: there is no key programs",
		"version: 3\n":                 "1: unknown key version",
		"programs: {}\n---\na: b\n":    "3: a second document",
		"programs: {}\nprograms: {}\n": "2: it is not YAML: mapping key",
		"programs:\n\tweb: {}\n":       "2: it is not YAML",
		"programs:\n  web:\n":          "2: programs.web: there is nothing here",
		"programs:\n  web: {}\n":       "2: programs: web has no command",
		"programs:\n  we b: {command: ./server}\n":                             "2: programs: name \"we b\"",
		"programs:\n  supervisor: {command: ./server}\n":                       "2: programs: name \"supervisor\": is the supervisors' own",
		"programs:\n  web:\n    dir: srv\n    comand: ./web\n":                 "4: programs.web: unknown key comand: did you mean command?",
		web + "    stop_signal: INT\n":                                         "4: programs.web: unknown key stop_signal: did you mean stop-signal?",
		web + "    nonsense: 1\n":                                              "4: programs.web: unknown key nonsense: known are command, dir",
		web + "    watchdog: 5s\n":                                             "4: programs.web: watchdog is not supported yet",
		web + "    restart: on-abnormal\n":                                     "4: programs.web.restart: on-abnormal is not supported yet: use always",
		web + "    restart: sometimes\n":                                       "4: programs.web.restart: \"sometimes\" is not known: use always",
		web + "    grace: 5\n":                                                 "4: programs.web.grace: 5 has no unit: write 5s, or 5ms",
		web + "    grace: five\n":                                              "4: programs.web.grace: \"five\" is not a duration",
		web + "    grace: -5s\n":                                               "4: programs.web.grace: -5s is out of range",
		web + "    grace: [5s]\n":                                              "4: programs.web.grace: write a single value",
		web + "    grace:\n":                                                   "4: programs.web.grace: there is no value",
		web + "    backoff: 5s\n    backoff-max: 1s\n":                         "5: programs.web.backoff-max: 1s is less than the backoff, 5s",
		web + "    stop-signal: FOO\n":                                         "4: programs.web.stop-signal: \"FOO\" is not known: use one of TERM",
		web + "    dir: nowhere\n":                                             "4: programs.web.dir: stat",
		web + "    dir: ~/x\n":                                                 "4: programs.web.dir: \"~/x\": ~ means",
		web + "    dir: data\n":                                                "4: programs.web.dir: " + dir + "/data is not a folder",
		web + "    env: [A=1]\n":                                               "4: programs.web.env: write keys with values",
		web + "    env: {A: }\n":                                               "4: programs.web.env.A: there is no value",
		web + "    env:\n      A: {B: c}\n":                                    "5: programs.web.env.A: write a single value",
		web + "    env: {A=B: c}\n":                                            "4: programs.web.env: \"A=B\" cannot be a variable",
		web + "    log: web.log\n":                                             "4: programs.web.log: write keys",
		web + "    log:\n      fil: x\n":                                       "5: programs.web.log: unknown key fil: did you mean file?",
		web + "    log: {size: 10}\n":                                          "4: programs.web.log.size: 10 has no unit: write 10B, or 10MB",
		web + "    log: {size: 10 Mbit}\n":                                     "4: programs.web.log.size: \"10 Mbit\" is not a size",
		web + "    log: {size: 10B}\n":                                         "4: programs.web.log: 10 bytes is out of range",
		web + "    log: {keep: many}\n":                                        "4: programs.web.log.keep: \"many\" is not a whole number",
		web + "    log: {stderr: same}\n":                                      "4: programs.web.log: stderr is not supported yet",
		web + "    log: {file: x}\n  b: {command: ./server, log: {file: x}}\n": "5: programs: the log of b is that of web",
		web + "  web: {command: ./server}\n":                                   "4: it is not YAML: mapping key",
		web + "    <<: {restart: no}\n":                                        "4: programs.web: << is not supported",
		web + "    restart: *x\n":                                              "4: programs.web.restart: *x: there is no &x",
		web + "    restart: &x *x\n":                                           "4: ",
		web + "    restart: !!str no\n":                                        "4: programs.web.restart: tags",
		"programs:\n  web:\n    command: []\n":                                 "3: programs.web.command: is empty",
		"programs:\n  web:\n    command: ''\n":                                 "3: programs.web.command: is empty",
		"programs:\n  web:\n    command: ./nothing\n":                          "3: programs.web.command: \"" + dir + "/nothing\" does not exist",
		"programs:\n  web:\n    command: ./data\n":                             "3: programs.web.command: \"" + dir + "/data\" is not executable",
		"programs:\n  web:\n    command: nosuchprogram-here\n":                 "3: programs.web.command: \"nosuchprogram-here\" is not in PATH",
		"programs:\n  web:\n    command: ./server 'a\n":                        "3: programs.web.command: a ' is not closed",
		"programs:\n  web:\n    command: ./server && ./server\n":               "3: programs.web.command: & means something to a shell",
		"programs:\n  web:\n    command:\n      - ./server\n      - [a]\n":     "5: programs.web.command[1]: write a single value",
	} {
		_, err := read(t, dir, text)
		if err == nil || !strings.HasPrefix(err.Error(), "pairguard.yaml:"+want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q:\n      %v\nwant  pairguard.yaml:%s", text, err, want)
		}
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	dir := home(t)
	for path, want := range map[string]string{
		"nowhere.yaml": "there is none",
		".":            "is a directory",
		"big":          "has more than",
	} {
		if path == "big" {
			if err := os.WriteFile(filepath.Join(dir, path), make([]byte, maxFile+1), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Read(filepath.Join(dir, path), "/logs"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestSplitWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                            nil,
		"  \t\n ":                     nil,
		"a b  c":                      {"a", "b", "c"},
		`'a b'"c d"\ e ''`:            {"a bc d e", ""},
		`"a\"b\\c\n\$" 'x\'`:          {`a"b\c\n$`, `x\`},
		"程序 --port=80 a#b ~ \\$HOME":  nil,
		"程序 --port=80 a#b a~ \\$HOME": {"程序", "--port=80", "a#b", "a~", "$HOME"},
		"'$HOME|*'":                   {"$HOME|*"},
		"a | b":                       nil, "a;b": nil, "a>b": nil, "$x": nil, `"$x"`: nil, "`x`": nil, "*": nil, "#": nil, `"a`: nil, "a\\": nil,
	} {
		got, err := splitWords(text)
		if !slices.Equal(got, want) && err == nil || want != nil && err != nil {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
		if want == nil && strings.TrimSpace(text) != "" && err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

// What is written in single quotes, word by word, comes back.
func FuzzSplitWords(f *testing.F) {
	f.Add("a", "b c", `"'\`)
	f.Fuzz(func(t *testing.T, a, b, c string) {
		words := []string{a, b, c}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		if got, err := splitWords(strings.Join(quoted, " ")); err != nil || !slices.Equal(got, words) {
			t.Errorf("%q: %q, %v", words, got, err)
		}
		_, _ = splitWords(a) // no crash
	})
}

// Whatever the file holds: an error with a line that exists, or valid programs.
func FuzzFile(f *testing.F) {
	f.Add("programs:\n  web:\n    command: [/bin/sh, -c, 'exit 1']\n    log: {size: 10MB}\n")
	f.Add("programs: {a: &x {command: /bin/sh}, b: *x}")
	f.Fuzz(func(t *testing.T, text string) {
		programs, err := parse([]byte(text), place{home: "/", logs: "/logs"})
		var bad *Error
		if err != nil && (!errors.As(err, &bad) || bad.Line < 1 || bad.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+2) {
			t.Fatalf("%q: %v", text, err)
		}
		for _, p := range programs {
			if err := p.Validate(); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
	})
}
