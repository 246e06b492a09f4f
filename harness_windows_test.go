package pairguard

import (
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"github.com/pairguard/pairguard/internal/proc"
)

// killed is how the end of a process is told that was killed.
const killed = "exit code 1"

// slack is what a start may take beyond what it takes on a machine in order: wine
// needs seconds for one while a dozen pairs are started.
var slack = func() time.Duration {
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil {
		return 4 * time.Second
	}
	return 0
}()

// suspend makes the process hang.
func suspend(t *testing.T, h *proc.Handle) {
	t.Helper()
	if err := h.Freeze(); err != nil {
		t.Fatal(err)
	}
}
