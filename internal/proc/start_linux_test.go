package proc

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// starters are the ways to start.
func starters(t *testing.T) map[string]func(Spec) (*Handle, error) {
	t.Helper()
	f, err := NewForker()
	if errors.Is(err, ErrNotSupported) {
		t.Log(err)
		return map[string]func(Spec) (*Handle, error){"start": Start}
	}
	must(t, err)
	t.Cleanup(f.Close)
	return map[string]func(Spec) (*Handle, error){"start": Start, "forker": f.Start}
}

func TestWorldOfAStartedProcess(t *testing.T) {
	for name, start := range starters(t) {
		t.Run(name, func(t *testing.T) { checkWorld(t, start) })
	}
}

func checkWorld(t *testing.T, start func(Spec) (*Handle, error)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "双进程 守护")
	must(t, os.Mkdir(dir, 0o700))
	exe, err := os.Executable()
	must(t, err)
	program := filepath.Join(dir, "程序 a")
	must(t, os.Symlink(exe, program))
	out, err := os.Create(filepath.Join(dir, "输出 out"))
	must(t, err)
	defer out.Close()
	inherited, err := os.Open(dir) // must not reach the child
	must(t, err)
	defer inherited.Close()
	abs, temporary, err := Resolve(program)
	must(t, err)
	if !temporary || abs != program {
		t.Errorf("Resolve: %q %v, want the path itself, temporary", abs, temporary)
	}
	env := []string{roleVariable + "=report", "名字=值 1"}
	h, err := start(Spec{Path: abs, Args: []string{"一", "two words", ""}, Dir: dir, Env: env, Output: out})
	must(t, err)
	defer h.Close()
	wantDone(t, h)
	b, err := os.ReadFile(out.Name())
	must(t, err)
	var w world
	must(t, json.Unmarshal(b, &w))
	if want := []string{program, "一", "two words", ""}; !slices.Equal(w.Args, want) {
		t.Errorf("arguments %q, want %q", w.Args, want)
	}
	if w.Dir != dir || w.Session != w.PID || w.PID != h.PID() || w.Stdin != "/dev/null" || w.Stdout != out.Name() {
		t.Errorf("world is %+v, want the given folder, a session of its own, stdin from the null device, output in the file", w)
	}
	if !slices.Contains(w.Env, "名字=值 1") || slices.ContainsFunc(w.Env, func(s string) bool { return strings.HasPrefix(s, "PATH=") }) {
		t.Errorf("environment %q, want exactly the given one", w.Env)
	}
	if slices.ContainsFunc(w.Fds, func(s string) bool { return strings.HasSuffix(s, dir) }) {
		t.Errorf("descriptors %q, want none inherited", w.Fds)
	}
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), mode))
		return path
	}
	good := file("good", "#!/bin/sh\n", 0o700)
	ways := starters(t)
	for what, c := range map[string]struct {
		spec Spec
		kind error
		say  string
	}{
		"missing":        {Spec{Path: filepath.Join(dir, "没有 x")}, fs.ErrNotExist, "does not exist"},
		"folder":         {Spec{Path: dir}, fs.ErrPermission, "is a folder"},
		"not executable": {Spec{Path: file("plain", "x", 0o600)}, fs.ErrPermission, "not executable"},
		"no interpreter": {Spec{Path: file("script", "#!/nonexistent/sh\n", 0o700)}, fs.ErrNotExist, "interpreter"},
		"no program":     {Spec{Path: file("text", "hello", 0o700)}, syscall.ENOEXEC, "neither a program"},
		"working folder": {Spec{Path: good, Dir: dir + "/none"}, fs.ErrNotExist, "working directory"},
		"relative":       {Spec{Path: "good"}, nil, "not an absolute path"},
		"too long":       {Spec{Path: good, Args: []string{strings.Repeat("x", 1<<20)}}, syscall.E2BIG, "too long"},
	} {
		for how, start := range ways {
			h, err := start(c.spec)
			if h != nil || err == nil || !strings.Contains(err.Error(), c.say) || c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("%s, %s: %v, want %q and %v", what, how, err, c.say, c.kind)
			}
		}
	}
}
