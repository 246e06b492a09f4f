// Package restart decides how long to wait before a process is started again. It is pure: no clock, no random source of its own.
//
// The one rule (docs/restart.md): the first start after a forgiven past is immediate. Each further one waits, the first of
// them Backoff, then twice as long each time, never longer than Max, and each wait is shortened at random by up to a quarter so
// that many processes that died together do not come back together. A life that lasted Stable or longer forgives everything.
// Nothing ever gives up.
package restart

import (
	"math"
	"time"
)

// Policy says how patient a Budget is. Negative values count as 0.
type Policy struct {
	Backoff time.Duration // the wait before the second start in a row; 0: every start is immediate
	Max     time.Duration // no wait is longer; less than Backoff: every wait is Max; 0: every wait is Backoff
	Stable  time.Duration // a life this long forgives; 0: every life does
}

// maxJitter is the share of a wait that the random source can take away.
const maxJitter = 0.25

// A Budget counts the starts of one process. It is not safe for concurrent use: its owner is the one goroutine that decides.
type Budget struct {
	policy Policy
	random func() float64
	starts int
}

// New returns a Budget with an empty past. random gives numbers in [0,1), as math/rand's Float64 does, and is called at most
// once for each Next; nil means no jitter.
func New(p Policy, random func() float64) *Budget {
	p.Backoff, p.Stable = max(p.Backoff, 0), max(p.Stable, 0)
	if p.Max <= 0 {
		p.Max = p.Backoff
	}
	return &Budget{policy: p, random: random}
}

// Restore returns a Budget that goes on where another one stood: starts is what its Starts said. A negative number counts as 0.
func Restore(p Policy, random func() float64, starts int) *Budget {
	b := New(p, random)
	b.starts = max(starts, 0)
	return b
}

// Next counts one more start and returns how long to wait before it: 0 for the first, later between three quarters of the
// full wait and all of it.
func (b *Budget) Next() time.Duration {
	n := b.starts
	if b.starts < math.MaxInt {
		b.starts++
	}
	if n == 0 {
		return 0
	}
	return b.jitter(b.wait(n))
}

// Ran takes note that the life that just ended lasted d; one of Stable or longer forgives all starts before it.
func (b *Budget) Ran(d time.Duration) {
	if d >= b.policy.Stable {
		b.starts = 0
	}
}

// Starts is the number of starts counted since the last forgiven one.
func (b *Budget) Starts() int { return b.starts }

// wait is the full wait after n starts: Backoff*2^(n-1) up to Max, without ever computing a number above Max.
func (b *Budget) wait(n int) time.Duration {
	d := min(b.policy.Backoff, b.policy.Max)
	for i := 1; i < n && d > 0 && d < b.policy.Max; i++ {
		if d > b.policy.Max/2 {
			return b.policy.Max
		}
		d *= 2
	}
	return d
}

func (b *Budget) jitter(d time.Duration) time.Duration {
	if b.random == nil || d == 0 {
		return d
	}
	x := b.random()
	if !(x >= 0 && x <= 1) { // also NaN
		x = 0
	}
	return d - time.Duration(float64(d)*maxJitter*x)
}
