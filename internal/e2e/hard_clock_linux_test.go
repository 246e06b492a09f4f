package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

// The wall clock of these guards is set forth and back by an hour every 700 ms: it
// is nobody's death, nobody's hang, and changes no delay. The machine's own clock
// stays as it is; the guards are built with a time.Now that jumps.
func TestClockSetBackAndForth(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command with another standard library")
	}
	t.Parallel()
	tr := newTrialIn(t, builtWithJumpingClock(t), "pairs")
	p := tr.guards("procA", "procB", "--backoff", "0")
	a, b := p.Observer.Holder("procA"), p.Observer.Holder("procB")
	tr.remains("both as they are", 2*pairguard.DefaultTimeout+time.Second, func(now []stage.Process) bool {
		return len(now) == 2 && has(now, a) && has(now, b)
	})
	if n := tr.count(func(e pairguard.Event) bool { return e.Kind == pairguard.PeerSuspect }); n > 0 {
		t.Errorf("%d times suspect", n)
	}
	_, err := p.KillInTurn(tr.ctx, 10, syscall.SIGKILL)
	tr.must(err)
	tr.must(p.AwaitUp(tr.ctx))
	away, err := p.Replace(tr.ctx, "procB", syscall.SIGSTOP)
	tr.must(err)
	if away > stage.AwayLimit {
		t.Errorf("it hung for %v", away)
	}
	tr.must(p.AwaitUp(tr.ctx))
	ahead := func(e pairguard.Event) bool { return time.Until(e.Time) > 30*time.Minute }
	if n, all := tr.count(ahead), tr.count(func(pairguard.Event) bool { return true }); n == 0 || n == all {
		t.Errorf("%d of %d events happened while the clock was ahead: it does not jump", n, all)
	}
	_, err = tr.Command(tr.ctx, "hold", "procB", "--for", "1s")
	tr.must(err)
	tr.event("the hold expires", saw("procA", pairguard.Unheld))
	tr.stopped(p)
}

const (
	plainNow   = "sec, nsec, mono := runtimeNow()"
	jumpingNow = plainNow + `
	if mono/700_000_000%2 == 1 {
		sec += 3600
	}`
)

// builtWithJumpingClock builds pairguard's command with a time.Now that is an hour
// ahead half of the time.
func builtWithJumpingClock(t *testing.T) (binary string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	folder, err := os.MkdirTemp("", "pg")
	must(err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	root, err := exec.Command("go", "env", "GOROOT").Output()
	must(err)
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	must(err)
	patched := strings.Replace(strings.ReplaceAll(string(text), "mono := now()", "mono := runtimeNow()"), plainNow, jumpingNow, 1)
	if !strings.Contains(string(text), "runtimeNow()") { // before Go 1.26
		patched = strings.ReplaceAll(patched, "runtimeNow()", "now()")
	}
	if patched == string(text) {
		t.Skip("this version of Go has another time.Now")
	}
	clock := filepath.Join(folder, "time.go")
	must(os.WriteFile(clock, []byte(patched), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: clock}})
	must(err)
	must(os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600))
	binary = filepath.Join(folder, "pairguard")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-overlay", filepath.Join(folder, "overlay.json"), "-o", binary, "github.com/pairguard/pairguard/cmd/pairguard")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return binary
}
