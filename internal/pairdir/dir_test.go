package pairdir

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestDefaultFollowsTheVariable(t *testing.T) {
	t.Setenv(Variable, "here")
	wd, err := os.Getwd()
	mustDo(t, err)
	if got, err := Default(); err != nil || got != filepath.Join(wd, "here") {
		t.Errorf("%q %v", got, err)
	}
}

func TestDefaultDependsOnTheUserAlone(t *testing.T) {
	t.Setenv(Variable, "")
	want, err := Default()
	mustDo(t, err)
	if !filepath.IsAbs(want) || !strings.Contains(want, "pairguard") {
		t.Errorf("default folder %q", want)
	}
	t.Setenv("HOME", "/somewhere/else")
	t.Setenv("XDG_RUNTIME_DIR", "/somewhere/else")
	t.Setenv("XDG_STATE_HOME", "/somewhere/else")
	if got, err := Default(); err != nil || got != want {
		t.Errorf("with another environment %q, %v", got, err)
	}
	if os.Geteuid() == 0 && runtime.GOOS == "linux" && want != "/run/pairguard" {
		t.Errorf("root's folder is %q", want)
	}
}

func TestOpenMakesAPrivateFolder(t *testing.T) {
	path := filepath.Join(testDir(t).Path(), "a b", "甲", "[d]")
	var all sync.WaitGroup
	for range 16 {
		all.Add(1)
		go func() {
			defer all.Done()
			if _, err := Open(path); err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	info, err := os.Lstat(path)
	mustDo(t, err)
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", info.Mode())
	}
	d, err := Open(path)
	mustDo(t, err)
	c := mustClaim(t, d, d.mustName(t, "a"))
	if _, err := c.Check(); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes and links are others there")
	}
	for what, c := range map[string]struct {
		make  func(path string) error
		words []string
	}{
		"readable by others": {func(p string) error { return mkdirMode(p, 0o755) }, []string{"0755", "chmod 700"}},
		"world-writable":     {func(p string) error { return mkdirMode(p, 0o777) }, []string{"0777", "chmod 700"}},
		"shared, as /tmp is": {func(p string) error { return mkdirMode(p, 0o777|os.ModeSticky) }, []string{"shared with others", "choose"}},
		"not even ours":      {func(p string) error { return mkdirMode(p, 0o500) }, []string{"0500", "chmod 700"}},
		"a file":             {func(p string) error { return os.WriteFile(p, nil, 0o600) }, []string{"not a directory", "remove it"}},
		"a link to a folder": {func(p string) error { return os.Symlink(filepath.Dir(p), p) }, []string{"symbolic link"}},
		"a link to nothing":  {func(p string) error { return os.Symlink("/nowhere", p) }, []string{"symbolic link"}},
		"below a file":       {func(p string) error { return os.WriteFile(filepath.Dir(p)+"/f", nil, 0o600) }, nil},
	} {
		path := filepath.Join(testDir(t).Path(), "x")
		mustDo(t, c.make(path))
		if c.words == nil {
			path = filepath.Dir(path) + "/f/x"
		}
		_, err := Open(path)
		wantError(t, what, err, append(c.words, path)...)
	}
	_, err := Open("/")
	wantError(t, "the root", err, "/")
}

func mkdirMode(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func TestOpenRefusesAnotherOwner(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not verified on Windows: under wine every file has one owner")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a folder away")
	}
	path := testDir(t).Path()
	mustDo(t, os.Chown(path, 65534, 65534))
	_, err := Open(path)
	wantError(t, "another owner", err, path, "65534", "chown")
}

func TestOpenRefusesAPlaceThatAnybodyCanReplace(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes are others there")
	}
	parent := filepath.Join(testDir(t).Path(), "p")
	mustDo(t, mkdirMode(parent, 0o777))
	_, err := Open(filepath.Join(parent, "d"))
	wantError(t, "open parent", err, parent, "chmod o-w")
	mustDo(t, os.Chmod(parent, 0o777|os.ModeSticky))
	if _, err := Open(filepath.Join(parent, "d")); err != nil {
		t.Errorf("a sticky parent, such as /tmp, is fine: %v", err)
	}
}

func TestOpenResolvesLinksOnTheWay(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not verified on Windows: wine makes no links")
	}
	d := testDir(t)
	link := filepath.Join(filepath.Dir(d.Path()), "link")
	mustDo(t, os.Symlink(filepath.Dir(d.Path()), link))
	other, err := Open(filepath.Join(link, "d"))
	mustDo(t, err)
	if other.Path() != d.Path() {
		t.Fatalf("one folder, two paths: %s and %s", d.Path(), other.Path())
	}
}
