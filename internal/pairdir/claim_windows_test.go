package pairdir

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"github.com/pairguard/pairguard/internal/proc"
)

var waysToHold = map[string][]string{"lockfile": nil}

// What the file says counts while its writer lives, and at no other time.
func TestIDInALockFileThatNobodyHolds(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	k := start(t, nil, "claim", d.Path(), "procB")
	k.want("another name", "held")
	h, err := proc.Open(k.pid())
	mustDo(t, err)
	id := h.ID()
	h.Close()
	k.kill()
	dead, err := json.Marshal(id)
	mustDo(t, err)
	for what, content := range map[string]string{"a dead process": string(dead), "rubbish": "%%%", "nothing": ""} {
		put(t, d.file(n, ".lock"), content)
		if h, err := d.Holder(n); err != nil || h.Held {
			t.Errorf("%s: holder %+v %v", what, h, err)
		}
		c, err := d.Claim(n)
		mustDo(t, err)
		mustDo(t, c.Release())
	}
}

func TestHeldLockFileCannotBeRemoved(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	c := mustClaim(t, d, n)
	if err := os.Remove(d.file(n, ".lock")); err == nil {
		t.Error("the lock file could be removed")
	}
	if err := os.Rename(d.file(n, ".lock"), d.file(n, ".away")); err == nil {
		t.Error("the lock file could be renamed")
	}
	if err := renameFile(d.file(n, ".lock"), d.file(n, ".away")); err == nil {
		t.Error("the lock file could be renamed, POSIX semantics")
	}
	if healed, err := c.Check(); err != nil || len(healed) != 0 {
		t.Errorf("check: %v %v", healed, err)
	}
	start(t, nil, "claim", d.Path(), "procA").want("still held", "error name procA: taken")
}

// A file that another program keeps open, as scanners do, delays a record and
// does not lose it.
func TestRecordWaitsForAScanner(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	mustClaim(t, d, n)
	mustDo(t, d.StoreHold(n, time.Hour, "first"))
	p, err := windows.UTF16PtrFromString(d.file(n, ".hold"))
	mustDo(t, err)
	scanner, err := windows.CreateFile(p, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil, windows.OPEN_EXISTING, 0, 0)
	mustDo(t, err)
	time.AfterFunc(100*time.Millisecond, func() { _ = windows.CloseHandle(scanner) })
	mustDo(t, d.StoreHold(n, 2*time.Hour, "second"))
	if left, _, err := d.ReadHold(n); err != nil || left <= time.Hour {
		t.Errorf("%v %v, want the second hold", left, err)
	}
}
