package proc

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// family is a program with a child in its group, a child in a session of its own,
// and a grandchild in another, whose parent can be told to end.
type family struct {
	*program
	plain, session, between, grandchild *Handle
}

func startFamily(t *testing.T, group *Cgroup) family {
	t.Helper()
	p, _ := startProgram(t, "family", group)
	var numbers []string
	var grandchild string
	for grandchild == "" || numbers == nil {
		if line := p.line(t); strings.HasPrefix(line, "grandchild ") {
			grandchild = strings.TrimPrefix(line, "grandchild ")
		} else {
			numbers = strings.Fields(line)
		}
	}
	all := openAll(t, append(numbers, grandchild)...)
	return family{p, all[0], all[1], all[2], all[3]}
}

// finishDoubleFork ends the process in the middle: the grandchild is then init's.
func (f family) finishDoubleFork(t *testing.T) {
	t.Helper()
	_, err := f.in.WriteString("\n")
	must(t, err)
	if line := f.line(t); line != "alone" {
		t.Fatalf("the program says %q, want that it buried its child", line)
	}
	wantDone(t, f.between)
}

func openTree(t *testing.T, h *Handle, group *Cgroup) *Tree {
	t.Helper()
	tree, err := OpenTree(h, group)
	must(t, err)
	t.Cleanup(tree.Close)
	return tree
}

// wantFelled kills the tree until nothing of it is left.
func wantFelled(t *testing.T, tree *Tree) {
	t.Helper()
	eventually(t, "nothing of the tree is left", func() bool {
		must(t, tree.Kill())
		return !tree.Alive()
	})
}

func TestTreeWithCgroupLeavesNothing(t *testing.T) {
	group := newCgroup(t)
	f := startFamily(t, group)
	tree := openTree(t, f.Handle, group)
	f.finishDoubleFork(t)
	must(t, f.Handle.Kill()) // nobody has looked before
	wantDone(t, f.Handle)
	wantReaped(t, f.ID())
	if !tree.Alive() {
		t.Error("the tree is gone, want what the main process has left")
	}
	wantFelled(t, tree)
	for _, h := range []*Handle{f.plain, f.session, f.grandchild} {
		wantDone(t, h)
	}
}

// Without a cgroup what was seen while its parents lived is ended, wherever it is.
func TestTreeWithoutCgroupEndsWhatWasSeen(t *testing.T) {
	f := startFamily(t, nil)
	tree := openTree(t, f.Handle, nil)
	must(t, tree.Survey())
	if n := len(tree.Known()); n != 4 {
		t.Errorf("%d descendants are known, want 4", n)
	}
	f.finishDoubleFork(t)
	must(t, f.Handle.Kill())
	wantDone(t, f.Handle)
	wantReaped(t, f.ID())
	wantFelled(t, tree)
	for _, h := range []*Handle{f.plain, f.session, f.grandchild} {
		wantDone(t, h)
	}
}

// What it cannot do is documented: this test says where the border is.
func TestTreeWithoutCgroupLosesADaemon(t *testing.T) {
	f := startFamily(t, nil)
	tree := openTree(t, f.Handle, nil)
	f.finishDoubleFork(t)
	must(t, tree.Survey())
	must(t, f.Handle.Kill())
	wantDone(t, f.Handle)
	wantFelled(t, tree)
	wantDone(t, f.plain)
	wantDone(t, f.session)
	wantAlive(t, f.grandchild)
	must(t, f.grandchild.Kill())
	wantDone(t, f.grandchild)
}

// The process group is ended though nobody looked before, and the main process has
// been buried, so that its number tells nothing.
func TestTreeEndsTheGroupOfABuriedMain(t *testing.T) {
	f := startFamily(t, nil)
	tree := openTree(t, f.Handle, nil)
	must(t, f.Handle.Kill())
	wantDone(t, f.Handle)
	wantReaped(t, f.ID())
	wantFelled(t, tree)
	wantDone(t, f.plain)
	wantDone(t, f.between)
	must(t, f.session.Kill())
	must(t, f.grandchild.Kill())
	wantDone(t, f.grandchild)
	wantDone(t, f.session)
}

// Another process, which has only read of the tree, fells it.
func TestOrphansAreFelledByTheirRecord(t *testing.T) {
	f := startFamily(t, nil)
	tree := openTree(t, f.Handle, nil)
	must(t, tree.Survey())
	known := tree.Known()
	must(t, f.Handle.Kill())
	wantDone(t, f.Handle)
	wantReaped(t, f.ID())
	orphans, err := OpenOrphans(f.ID(), nil)
	must(t, err)
	defer orphans.Close()
	orphans.Remember(known)
	if !orphans.Alive() {
		t.Error("the orphans are gone, want alive")
	}
	wantFelled(t, orphans)
	for _, h := range []*Handle{f.plain, f.session, f.between, f.grandchild} {
		wantDone(t, h)
	}
}

func TestOrphansOfAnotherBootAreGone(t *testing.T) {
	id, err := Self()
	must(t, err)
	id.BootID = "another"
	orphans, err := OpenOrphans(id, nil)
	must(t, err)
	defer orphans.Close()
	orphans.Remember([]ID{id})
	if orphans.Alive() {
		t.Error("orphans of another boot are alive")
	}
	must(t, orphans.Kill()) // this process survives it
	id, err = Self()
	must(t, err)
	id.PIDNamespace++
	if _, err := OpenOrphans(id, nil); !errors.Is(err, ErrElsewhere) {
		t.Errorf("orphans of another namespace: %v, want ErrElsewhere", err)
	}
}

// A number that is used again by a process that leads a group is not taken for the
// group of the one that had it before.
func TestGroupOfAReusedNumberIsSpared(t *testing.T) {
	h := startRole(t, "wait")
	former := h.ID()
	former.Start--
	orphans, err := OpenOrphans(former, nil)
	must(t, err)
	defer orphans.Close()
	if orphans.Alive() {
		t.Error("the group is alive, want gone: its number is another's")
	}
	must(t, orphans.Kill())
	must(t, h.Signal(unix.Signal(0)))
	wantAlive(t, h)
}

// A tree that grows while it is felled: no fork gets away between looking and killing.
func TestTreeThatGrowsIsFelled(t *testing.T) {
	p, mark := startProgram(t, "storm 5", nil)
	tree := openTree(t, p.Handle, nil)
	eventually(t, "it grows", func() bool {
		must(t, tree.Survey())
		return len(tree.Known()) >= 5
	})
	wantFelled(t, tree)
	wantDone(t, p.Handle)
	wantNoneMarked(t, mark)
}

// A zombie that its parent never buries does not keep its group alive.
func TestZombiesAreNotAlive(t *testing.T) {
	p, _ := startProgram(t, "family", nil)
	p.line(t)
	tree := openTree(t, p.Handle, nil)
	wantFelled(t, tree) // it had living ones only

	main, _ := startProgram(t, "parent unburied", nil)
	main.line(t) // the number of the child
	children, err := main.Children()
	must(t, err)
	if len(children) != 1 {
		t.Fatalf("children %v, want one", children)
	}
	left, err := Reopen(children[0])
	must(t, err)
	defer left.Close()
	var zombies []ID
	eventually(t, "the child has left the group", func() bool {
		zombies, err = left.Children()
		must(t, err)
		leads, _ := left.LeadsSession()
		return leads && len(zombies) == 1
	})
	tree = openTree(t, main.Handle, nil)
	must(t, main.Handle.Kill())
	wantDone(t, main.Handle)
	wantReaped(t, main.ID())
	if tree.trySignalGroup(0) != nil {
		t.Error("the group is empty, want a zombie in it")
	}
	eventually(t, "the zombie does not count", func() bool { return !tree.Alive() })
	if tree.Alive() {
		t.Error("the tree is alive again")
	}
	wantAlive(t, left)
	must(t, left.Kill())
	wantDone(t, left)
}

// A dead process that its parent has not waited for is gone from its tree, and the tree
// tells that the kernel still shows it.
func TestTreeTellsOfTheUnburied(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	must(t, cmd.Start())
	h, err := Open(cmd.Process.Pid)
	must(t, err)
	defer h.Close()
	tree := openTree(t, h, nil)
	if tree.Unburied() {
		t.Error("it lives, and is told to be unburied")
	}
	must(t, h.Kill())
	wantDone(t, h)
	if !tree.Unburied() {
		t.Error("nobody has waited for it, and it is told to be buried")
	}
	_ = cmd.Wait() // it was killed
	if tree.Unburied() {
		t.Error("it was waited for, and is told to be unburied")
	}
}
