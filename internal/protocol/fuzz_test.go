package protocol

import (
	"testing"
	"time"
)

// FuzzEvents feeds the machine any events at any times, with the actions left
// undone: it must never panic, never take an illegal way, and never plan a
// deadline that has passed. Each pair of bytes is an event and the time before it.
func FuzzEvents(f *testing.F) {
	f.Add(false, []byte{0, 0, 4, 0, 9, 0, 10, 0, 3, 200, 3, 50})
	f.Add(true, []byte{0, 0, 14, 0, 14, 1, 24, 3, 29, 0, 26, 0})
	all := happenings()
	f.Fuzz(func(t *testing.T, plain bool, input []byte) {
		cfg := testConfig()
		cfg.PlainPermitted = plain
		m, now, spawns, answers := New(cfg), time.Duration(0), 0, 0
		for i := 0; i+1 < len(input); i += 2 {
			h := all[int(input[i])%len(all)]
			now += pause(m, now, input[i+1])
			if s, ok := h.event.(Surveyed); ok && s.Token == 99 {
				s.Token = m.revival.asked
				h.event = s
			}
			switch h.event.(type) {
			case Started, StartFailed:
				answers++
			}
			actions := m.Step(now, h.event)
			checkStep(t, h.name, m, actions)
			for _, a := range actions {
				if _, ok := a.(Spawn); ok {
					spawns++
				}
			}
			if spawns > answers+1 {
				t.Fatalf("%s: %d starts, of which only %d were answered", h.name, spawns, answers)
			}
		}
	})
}

// pause is a while, or up to the deadline.
func pause(m *Machine, now time.Duration, b byte) time.Duration {
	if due := m.Deadline(); b > 200 && due < never && due > now {
		return due - now
	}
	return time.Duration(b) * 13 * time.Millisecond
}
