package pairguard

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

// folderOf is the operator's view of a test's pair.
func folderOf(t *testing.T, path string) *Folder {
	t.Helper()
	f, err := OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func withPatience(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func stopped(t *testing.T, report StopReport, name string) StoppedMember {
	t.Helper()
	i := slices.IndexFunc(report.Members, func(m StoppedMember) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("%s is not in the report %+v", name, report)
	}
	return report.Members[i]
}

// One of the two is this very process: it is waited for and never killed.
func TestFolderStopEndsAPairByEitherName(t *testing.T) {
	p := newPair(t, "member", nil).run()
	b := p.open(p.await(PeerUp).PeerPID)
	f := folderOf(t, p.dir+"/d")
	report, err := f.Stop(withPatience(t), patience, "B")
	if err != nil {
		t.Fatal(err)
	}
	p.gone(b)
	if how := stopped(t, report, "B"); how.How != HowEnded || how.PID != b.PID() {
		t.Errorf("B: %+v", how)
	}
	if how := stopped(t, report, "A"); how.How != HowEnded || how.PID != os.Getpid() {
		t.Errorf("A: %+v", how)
	}
	members, err := f.Members(withPatience(t))
	if err != nil || len(members) != 0 {
		t.Errorf("who was stopped should not be there: %+v, %v", members, err)
	}
	members, err = f.Members(withPatience(t), "A", "B")
	if err != nil || len(members) != 2 || members[0].Phase != PhaseEnded || members[1].Running {
		t.Errorf("named, both should be shown as ended: %+v, %v", members, err)
	}
	again, err := f.Stop(withPatience(t), patience)
	if err != nil || stopped(t, again, "A").How != HowAbsent {
		t.Errorf("stopping again should be no error: %+v, %v", again, err)
	}
}

// P6: ended within the grace + 1 s, whatever a member does.
func TestFolderStopKillsAMemberThatHangs(t *testing.T) {
	p := newPair(t, "member", func(c *Config) { c.Grace = time.Hour }).run()
	b := p.open(p.await(PeerUp).PeerPID)
	f := folderOf(t, p.dir+"/d")
	// Held, so that it is not judged before the stop.
	if err := f.Hold(withPatience(t), time.Hour, "test", "B"); err != nil {
		t.Fatal(err)
	}
	suspend(t, b)
	const grace = 200 * time.Millisecond
	began := time.Now()
	report, err := f.Stop(withPatience(t), grace)
	if took := time.Since(began); took > grace+time.Second {
		t.Errorf("the stop took %v with a grace of %v", took, grace)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.gone(b)
	if how := stopped(t, report, "B").How; how != HowKilled {
		t.Errorf("B %s", how)
	}
}

// deserted is a folder whose member A is gone without a word and has left a
// program running as B.
type deserted struct {
	folder  *Folder
	dir     *pairdir.Dir
	a, b    pairdir.Name
	program *proc.Handle
}

func newDeserted(t *testing.T, manner string) deserted {
	t.Helper()
	path, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(path) })
	d := deserted{folder: folderOf(t, path), dir: must(pairdir.Open(path))(t)}
	d.a, d.b = must(d.dir.Name("A"))(t), must(d.dir.Name("B"))(t)
	claim := must(d.dir.Claim(d.a))(t)
	must(d.dir.BeginLife(d.a, d.b, ""))(t)
	if err := claim.Release(); err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(path, "ready")
	d.program = must(proc.Start(proc.Spec{
		Path: must(os.Executable())(t), Env: append(os.Environ(), roleVariable+"=program "+manner+" "+ready),
	}))(t)
	t.Cleanup(func() {
		d.program.Kill()
		<-d.program.Done()
	})
	id := d.program.ID()
	if err := d.dir.StoreSpawn(d.b, pairdir.Spawn{Token: "t", By: must(proc.Self())(t), Process: &id}); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, ready)
	return d
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		if _, err := os.Stat(path); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s was not made", path)
		}
	}
}

// How a program takes being asked to end.
const (
	obedientProgram = "obedient"
	stubbornProgram = "stubborn"
)

// The one that would end a program is gone: it is asked to end, then killed.
func TestFolderStopEndsAProgramWhoseGuardIsGone(t *testing.T) {
	for _, c := range []struct {
		name, manner, how string
		grace             time.Duration
	}{
		{"asked", obedientProgram, HowEnded, patience},
		{"killed", stubbornProgram, HowKilled, 300 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDeserted(t, c.manner)
			report, err := d.folder.Stop(withPatience(t), c.grace)
			if err != nil {
				t.Fatal(err)
			}
			// The handle from here has its proof a moment later than the one of the stop.
			if d.folder.spawned(d.b) != nil {
				t.Fatal("the stop has returned and the program still runs")
			}
			if how := stopped(t, report, "B").How; how != c.how {
				t.Errorf("B %s, want: %s", how, c.how)
			}
			if how := stopped(t, report, "A").How; how != HowAbsent {
				t.Errorf("A %s", how)
			}
		})
	}
}

// A person who starts the pair again while a stop still waits has the last word.
func TestFolderStopSparesWhatAPersonStartedSince(t *testing.T) {
	d := newDeserted(t, stubbornProgram)
	result := make(chan error, 1)
	go func() {
		_, err := d.folder.Stop(context.Background(), 300*time.Millisecond)
		result <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for announced := false; !announced; <-tick.C {
		var err error
		if _, announced, err = d.dir.ReadStop(d.a, d.b); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.dir.ClearStop(d.a, d.b); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.program.Done():
		t.Error("the program was ended although the stop was taken back")
	default:
	}
}

func TestFolderStopGivesUpWaitingWhenCancelled(t *testing.T) {
	d := newDeserted(t, stubbornProgram)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	report, err := d.folder.Stop(ctx, time.Hour)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if how := stopped(t, report, "B").How; how != HowAlive {
		t.Errorf("B %s", how)
	}
	if _, announced, err := d.dir.ReadStop(d.a, d.b); !announced || err != nil {
		t.Errorf("the stop should stay announced: %v, %v", announced, err)
	}
}

// The record of one member is damaged: its peer's still tells of the pair.
func TestFolderStopWithADamagedRecord(t *testing.T) {
	p := newPair(t, "member", nil).run()
	b := p.open(p.await(PeerUp).PeerPID)
	f := folderOf(t, p.dir+"/d")
	if err := os.WriteFile(p.dir+"/d/B.life", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stop(withPatience(t), patience, "B"); err != nil {
		t.Fatal(err)
	}
	p.gone(b)
}

func TestFolderThatDoesNotExistIsEmptyAndStaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	f := folderOf(t, path)
	ctx := withPatience(t)
	members, err := f.Members(ctx)
	report, stopErr := f.Stop(ctx, time.Second)
	events, eventErr := f.Events()
	if len(members)+len(report.Members)+len(events) != 0 || err != nil || stopErr != nil || eventErr != nil {
		t.Errorf("got %v %v %v, %v %v %v", members, report, events, err, stopErr, eventErr)
	}
	if _, err := f.Stop(ctx, time.Second, "A"); !errors.Is(err, ErrUnknownName) {
		t.Errorf("stopping an unknown name: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("looking has made the folder")
	}
}

func TestFolderKnowsWhoIsThere(t *testing.T) {
	d := newDeserted(t, obedientProgram)
	ctx := withPatience(t)
	members, err := d.folder.Members(ctx)
	if err != nil || len(members) != 2 {
		t.Fatalf("got %+v, %v", members, err)
	}
	if a := members[0]; a.Self != "A" || a.Running || a.Phase != PhaseDown || a.PID != 0 {
		t.Errorf("A should be there and is not: %+v", a)
	}
	if b := members[1]; b.Self != "B" || !b.Running || b.Phase != PhaseSilent || b.PID != d.program.PID() {
		t.Errorf("B is a program that says nothing: %+v", b)
	}
	_, err = d.folder.Members(ctx, "C")
	if want := `pairguard: unknown name "C" in ` + d.folder.Path() + `: known there: A, B`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A member that was started with another peer since does not belong to its old pair.
func TestPairHasOnlyMembersThatAreStillInIt(t *testing.T) {
	dir := must(pairdir.Open(filepath.Join(t.TempDir(), "d")))(t)
	name := func(s string) pairdir.Name { return must(dir.Name(s))(t) }
	a := rosterEntry{name: name("A"), peer: name("C"), lived: true}
	b := rosterEntry{name: name("B"), peer: name("A"), lived: true}
	c := rosterEntry{name: name("C"), peer: name("A"), lived: true}
	known := []rosterEntry{a, b, c}
	for _, test := range []struct {
		chosen []rosterEntry
		want   [][]string
	}{
		{[]rosterEntry{a}, [][]string{{"A", "C"}}},
		{[]rosterEntry{b}, [][]string{{"B"}}},
		{known, [][]string{{"A", "C"}, {"B"}}},
	} {
		var got [][]string
		for _, p := range pairs(known, test.chosen) {
			var in []string
			for _, m := range p.members() {
				in = append(in, m.name.String())
			}
			got = append(got, in)
		}
		if !slices.EqualFunc(got, test.want, slices.Equal[[]string]) {
			t.Errorf("got %v, want %v", got, test.want)
		}
	}
}

func TestFolderTellsEvents(t *testing.T) {
	p := newPair(t, "member", nil).run()
	p.await(PeerUp)
	f := folderOf(t, p.dir+"/d")
	ctx, cancel := context.WithCancel(withPatience(t))
	var followed []EventKind
	err := f.Follow(ctx, func(e Event) {
		if e.Self == "A" {
			followed = append(followed, e.Kind)
		}
		if e.Self == "A" && e.Kind == PeerUp {
			cancel()
		}
	})
	if err != nil || !slices.Equal(followed, []EventKind{Listening, PeerStarted, PeerUp}) {
		t.Errorf("followed %v, %v", followed, err)
	}
	events, err := f.Events("B")
	if err != nil || len(events) < 3 {
		t.Errorf("events about B: %v, %v", events, err)
	}
	if _, err := f.Events("C"); !errors.Is(err, ErrUnknownName) {
		t.Errorf("events of an unknown name: %v", err)
	}
}
