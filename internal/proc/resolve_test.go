//go:build unix

package proc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("PATH", dir+"/bin")
	t.Setenv("TMPDIR", dir+"/temp")
	for path, mode := range map[string]os.FileMode{
		"bin/tool": 0o755, "bin/data": 0o644, "程序 x": 0o755, "temp/t": 0o755, "a/go-build123/b001/exe/m": 0o755,
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("#!/bin/sh\n"), mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("temp/t", "link"); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]struct {
		abs       string
		temporary bool
		kind      error
		say       string
	}{
		"tool":                     {abs: "bin/tool"},
		"./程序 x":                   {abs: "程序 x"},
		"bin/tool":                 {abs: "bin/tool"},
		dir + "/temp/t":            {abs: "temp/t", temporary: true},
		"./link":                   {abs: "link", temporary: true},
		"a/go-build123/b001/exe/m": {abs: "a/go-build123/b001/exe/m", temporary: true},
		"":                         {say: "no command"},
		"nothing":                  {kind: fs.ErrNotExist, say: "not in PATH"},
		"./nothing":                {kind: fs.ErrNotExist, say: "does not exist"},
		"./bin":                    {kind: fs.ErrPermission, say: "is a folder"},
		"bin/data":                 {kind: fs.ErrPermission, say: "chmod +x"},
		"/dev/null":                {kind: fs.ErrPermission, say: "not a regular file"},
	} {
		abs, temporary, err := Resolve(command)
		if want.say != "" {
			if err == nil || !strings.Contains(err.Error(), want.say) || want.kind != nil && !errors.Is(err, want.kind) {
				t.Errorf("Resolve(%q): %v, want %q and %v", command, err, want.say, want.kind)
			}
			continue
		}
		if err != nil || abs != filepath.Join(dir, want.abs) || temporary != want.temporary {
			t.Errorf("Resolve(%q) = %q, %v, %v, want %q, %v", command, abs, temporary, err, want.abs, want.temporary)
		}
	}
}

func TestExitStatusWords(t *testing.T) {
	for want, e := range map[string]ExitStatus{
		"unknown":     {Code: 3},
		"exit code 0": {Known: true},
		"signal KILL": {Known: true, Signal: "KILL"},
	} {
		if got := e.String(); got != want {
			t.Errorf("%+v is %q, want %q", e, got, want)
		}
	}
}
