package supervisor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A loop that works through a long list is no hung one; one that does nothing is, and
// so is one that has not come back to its questions for too long.
func TestBusyLoopIsHealthy(t *testing.T) {
	for _, c := range []struct {
		what     string
		works    bool
		answered time.Duration // before
		healthy  bool
	}{
		{"busy", true, time.Second, true},
		{"stuck", false, time.Second, false},
		{"busy without end", true, busyPatience + time.Second, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				l := &loop{inbox: newInbox(), ctx: t.Context()}
				l.pulse.answered.Store(int64(l.now() - c.answered))
				if c.works {
					time.AfterFunc(progressLook/2, l.pulse.beat)
				}
				if err := l.healthy(ctx); (err == nil) != c.healthy {
					t.Errorf("healthy: %v", err)
				}
			})
		})
	}
}
