//go:build unix

package pairdir

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pairguard/pairguard/internal/proc"
)

// Whoever looks from a session with another $TMPDIR finds the names where they are.
func TestMembersAtQtNamesWithAnotherTMPDIR(t *testing.T) {
	d := testDir(t)
	t.Setenv("TMPDIR", filepath.Join(d.Path(), "one"))
	a, b := d.mustName(t, "qt:a"), d.mustName(t, "qt:b")
	mustClaim(t, d, a)
	_, err := d.BeginLife(a, b, "")
	mustDo(t, err)
	t.Setenv("TMPDIR", filepath.Join(d.Path(), "two"))
	members, err := d.Members()
	mustDo(t, err)
	if len(members) != 1 || members[0].Name != a || members[0].Peer != b {
		t.Errorf("found %+v, want %+v and %+v", members, a, b)
	}
	// What is no address changes nothing.
	if n := d.mustName(t, "qt:a"); d.at(n, "elsewhere") != n || d.at(d.mustName(t, "a"), "/x") != d.mustName(t, "a") {
		t.Error("a name has moved to what is no address, or had one of its own")
	}
}

// A umask that takes the owner's own rights away keeps nobody but root out of a
// file for ever: whatever is made can be opened again by its owner.
func TestUmaskThatTakesOurOwnRights(t *testing.T) {
	root := testDir(t).Path() // not parallel: the umask is the whole process's
	old := syscall.Umask(0o777)
	defer syscall.Umask(old)
	d, err := Open(filepath.Join(root, "parent", "folder"))
	mustDo(t, err)
	a, b := d.mustName(t, "a"), d.mustName(t, "b")
	c := mustClaim(t, d, a)
	_, err = d.BeginLife(a, b, "")
	mustDo(t, err)
	self, err := proc.Self()
	mustDo(t, err)
	mustDo(t, d.StoreSpawn(b, Spawn{Token: NewToken(1), By: self, Generation: 1}))
	mustDo(t, d.StoreHold(b, 1, "test"))
	mustDo(t, d.StoreStop(a, b, Goodbye{}))
	mustDo(t, d.StoreLeave(a, Goodbye{}))
	log, err := d.OpenLog(a)
	mustDo(t, err)
	log.Close()
	output, err := d.OpenOutput(b)
	mustDo(t, err)
	dump, err := d.BeginDump(b)
	mustDo(t, err)
	_, err = output.WriteString("last words")
	mustDo(t, err)
	mustDo(t, output.Close())
	_, _, err = dump.Keep("")
	mustDo(t, err)
	dump.Close()
	if _, err := c.Check(); err != nil {
		t.Error(err)
	}
	syscall.Umask(old)
	seen := 0
	mustDo(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		mustDo(t, err)
		info, err := os.Lstat(path)
		mustDo(t, err)
		need := fs.FileMode(0o600)
		if entry.IsDir() {
			need = 0o700
		}
		if seen++; info.Mode().Perm()&need != need {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	}))
	if seen < 12 {
		t.Errorf("only %d files were made", seen)
	}
	c.Release()
}
