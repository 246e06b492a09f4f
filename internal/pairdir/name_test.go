package pairdir

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestNameRefuses(t *testing.T) {
	d := testDir(t)
	bad := []string{"", ".", "..", "a b", "a/b", "a\\b", "a\n", "a\x00", "é", "甲", "a@b", "a+b", "~a", strings.Repeat("x", 65), "qt:", "qt:a\nb", "qt:\xff"}
	if runtime.GOOS != "windows" {
		bad = append(bad, "/", "/tmp/", "/tmp/..", "/tmp/a\nb", "qt:a/b", "qt:..", "/"+strings.Repeat("x", 107))
	}
	for _, s := range bad {
		if n, err := d.Name(s); err == nil {
			t.Errorf("name %q is accepted as %+v", s, n)
		} else if strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("name %q: error is not one printable line: %v", s, err)
		}
	}
}

func TestNameOrdinary(t *testing.T) {
	d := testDir(t)
	for _, s := range []string{"procA", "a", "-a", ".a", "...", "A.b_c-9", strings.Repeat("x", 40)} {
		n := d.mustName(t, s)
		if n.String() != s || n.PlainPermitted() {
			t.Errorf("%q: %+v", s, n)
		}
		if runtime.GOOS == "linux" && (n.Key() != s || string(n.Address()) != filepath.Join(d.Path(), s+".sock")) {
			t.Errorf("%q: key %q, address %q", s, n.Key(), n.Address())
		}
	}
}

func TestNameAddresses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("addresses are pipes there")
	}
	t.Setenv("TMPDIR", "/tmp")
	d := testDir(t)
	qt, path := d.mustName(t, "qt:我的 App"), d.mustName(t, "/tmp//我的 App")
	if qt.Key() != path.Key() || qt.Address() != "/tmp/我的 App" {
		t.Errorf("one address, two names: %+v %+v", qt, path)
	}
	if !qt.PlainPermitted() || path.PlainPermitted() {
		t.Error("a plain peer is permitted under qt: alone")
	}
	if a, b := d.mustName(t, "/tmp/a b"), d.mustName(t, "/tmp/a_b"); a.Key() == b.Key() {
		t.Errorf("two addresses, one key: %q", a.Key())
	}
	if own := d.mustName(t, d.Path()+"/procA.sock"); own.Key() != "procA" {
		t.Errorf("the address of an ordinary name has another key: %q", own.Key())
	}
	t.Setenv("TMPDIR", "relative")
	_, err := d.Name("qt:x")
	wantError(t, "relative TMPDIR", err, "TMPDIR")
}

func TestNameTooLong(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("folders do not enter addresses there")
	}
	d, err := Open(filepath.Join(testDir(t).Path(), strings.Repeat("f", 80)))
	mustDo(t, err)
	_, err = d.Name(strings.Repeat("n", 30))
	wantError(t, "long address", err, "bytes", "shorter")
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"procA", "qt:x", "/tmp/x", "..", "a b", "qt:/", "/\xff"} {
		f.Add(s)
	}
	d := &Dir{path: "/tmp/d", disk: realDisk()}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := d.Name(s)
		if err != nil {
			return
		}
		if n.key == "" || strings.ContainsAny(n.key, "/\\+~\x00\n ") || len(n.key) > 100 || n.key == "." || n.key == ".." {
			t.Fatalf("%q: key %q is not file-safe", s, n.key)
		}
		if len(n.addr) == 0 || len(n.addr) > maxAddress {
			t.Fatalf("%q: address %q", s, n.addr)
		}
	})
}
