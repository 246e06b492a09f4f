package restart

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is the rule as a person would do it on paper: with numbers that cannot overflow, from the list of all starts.
type model struct {
	policy Policy
	starts int
}

// next returns the bounds of the next wait.
func (m *model) next() (least, most *big.Int) {
	n := m.starts
	m.starts++
	zero := big.NewInt(0)
	if n == 0 || m.policy.Backoff <= 0 {
		return zero, zero
	}
	wait := new(big.Int).Lsh(big.NewInt(int64(m.policy.Backoff)), uint(n-1))
	limit := m.policy.Max
	if limit <= 0 {
		limit = m.policy.Backoff
	}
	if top := big.NewInt(int64(limit)); wait.Cmp(top) > 0 {
		wait = top
	}
	// Three quarters of it, less the last bits that a float64 cannot hold.
	least = new(big.Int).Mul(wait, big.NewInt(3))
	least.Rsh(least, 2)
	slack := new(big.Int).Rsh(wait, 50)
	least.Sub(least, slack)
	return least, wait
}

func (m *model) ran(d time.Duration) {
	if d >= max(m.policy.Stable, 0) {
		m.starts = 0
	}
}

func duration() *rapid.Generator[time.Duration] {
	return rapid.OneOf(
		rapid.SampledFrom([]time.Duration{0, 1, 2, 3, -1, math.MinInt64, math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64/2 + 1}),
		rapid.Map(rapid.Int64Range(0, int64(time.Minute)), func(n int64) time.Duration { return time.Duration(n) }),
		rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) }),
	)
}

// TestBudgetAgainstModel drives Budget and the model with the same lives and compares every answer.
func TestBudgetAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{duration().Draw(t, "backoff"), duration().Draw(t, "max"), duration().Draw(t, "stable")}
		random := rapid.OneOf(rapid.Float64Range(0, 1), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 2}))
		b, m := New(p, func() float64 { return random.Draw(t, "random") }), &model{policy: p}
		for range rapid.IntRange(1, 80).Draw(t, "lives") {
			least, most := m.next()
			got := b.Next()
			if g := big.NewInt(int64(got)); g.Cmp(least) < 0 || g.Cmp(most) > 0 {
				t.Fatalf("start %d of %+v waits %d, want %d to %d", b.Starts(), p, got, least, most)
			}
			if p.Max > 0 && got > p.Max || got < 0 {
				t.Fatalf("start %d of %+v waits %d", b.Starts(), p, got)
			}
			if b.Starts() != m.starts {
				t.Fatalf("%d starts counted, want %d", b.Starts(), m.starts)
			}
			if rapid.Bool().Draw(t, "came up") { // a start can fail without a life
				d := duration().Draw(t, "ran")
				b.Ran(d)
				m.ran(d)
			}
		}
	})
}

// guardDefaults are those of docs/restart.md.
var guardDefaults = Policy{Backoff: 500 * time.Millisecond, Max: 2 * time.Second, Stable: 10 * time.Second}

func TestDefaultsOfGuard(t *testing.T) {
	b := New(guardDefaults, nil)
	want := []time.Duration{0, 500 * time.Millisecond, time.Second, 2 * time.Second, 2 * time.Second}
	for i, w := range want {
		if got := b.Next(); got != w {
			t.Errorf("start %d waits %v, want %v", i+1, got, w)
		}
		b.Ran(guardDefaults.Stable - 1)
	}
	b.Ran(guardDefaults.Stable)
	if b.Starts() != 0 || b.Next() != 0 {
		t.Error("a life of Stable did not forgive")
	}
}

func TestFirstStartIsImmediate(t *testing.T) {
	for _, p := range []Policy{guardDefaults, {}, {Backoff: time.Hour, Max: time.Hour, Stable: time.Hour}, {Backoff: math.MaxInt64, Max: math.MaxInt64}} {
		if got := New(p, rand.Float64).Next(); got != 0 {
			t.Errorf("%+v: the first start waits %v", p, got)
		}
	}
}

func TestBackoffZeroNeverWaits(t *testing.T) {
	b := New(Policy{Max: time.Hour, Stable: time.Hour}, rand.Float64)
	for range 1000 {
		if got := b.Next(); got != 0 {
			t.Fatalf("start %d waits %v", b.Starts(), got)
		}
		b.Ran(0)
	}
}

// TestNeverGivesUp: after any number of starts there is a next one, and it is not further away than Max.
func TestNeverGivesUp(t *testing.T) {
	b := New(guardDefaults, rand.Float64)
	b.starts = math.MaxInt - 1
	for range 3 {
		if got := b.Next(); got > guardDefaults.Max || got < guardDefaults.Max*3/4 {
			t.Errorf("start %d waits %v", b.Starts(), got)
		}
	}
	if b.Starts() != math.MaxInt {
		t.Errorf("the count of starts ran over to %d", b.Starts())
	}
}

func TestJitterOnlyShortensAndSpreads(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		b := New(guardDefaults, r.Float64)
		b.Next()
		d := b.Next()
		low, high = min(low, d), max(high, d)
	}
	if low < 375*time.Millisecond || low > 380*time.Millisecond || high > 500*time.Millisecond || high < 495*time.Millisecond {
		t.Errorf("1000 waits lie between %v and %v, want nearly all of 375ms to 500ms", low, high)
	}
}

// TestRestoredGoesOn: what goes on from the number of another answers as that one does.
func TestRestoredGoesOn(t *testing.T) {
	b := New(guardDefaults, nil)
	for range 6 {
		if got, want := Restore(guardDefaults, nil, b.Starts()).Next(), b.Next(); got != want {
			t.Errorf("start %d waits %v, restored %v", b.Starts(), want, got)
		}
	}
	if r := Restore(guardDefaults, nil, -3); r.Starts() != 0 || r.Next() != 0 {
		t.Error("a negative number of starts is not taken for none")
	}
}
