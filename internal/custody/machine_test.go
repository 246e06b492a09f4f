package custody

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// text is an action in the words of these tests.
func text(a Action) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", a), "custody.")
	switch a := a.(type) {
	case Ack:
		return fmt.Sprintf("%s %d", name, a.Seq)
	case Give:
		return fmt.Sprintf("%s %d %s=%s%s", name, a.Seq, a.Item.Key, a.Item.Body, flag(a.Item.Gone, " gone"))
	case EndSnapshot:
		return fmt.Sprintf("%s %d", name, a.Seq)
	case Release:
		return fmt.Sprintf("%s %d%s", name, a.Ticket, flag(a.Held, " held"))
	case Act:
		keys := []string{}
		for _, it := range a.Copy {
			keys = append(keys, it.Key+"="+string(it.Body)+flag(it.Gone, " gone"))
		}
		return fmt.Sprintf("%s %v%s%s", name, keys, flag(a.Complete, " complete"), flag(a.Settled, " settled"))
	}
	return name
}

func flag(is bool, s string) string {
	if is {
		return s
	}
	return ""
}

// tale is a machine and its clock.
type tale struct {
	t   *testing.T
	m   *Machine
	now time.Duration
}

func begin(t *testing.T) *tale { return &tale{t: t, m: New(), now: time.Second} }

// step lets something happen and says what has to be done about it.
func (y *tale) step(e Event, want ...string) *tale {
	y.t.Helper()
	got := []string{}
	for _, a := range y.m.Step(y.now, e) {
		got = append(got, text(a))
	}
	if !slices.Equal(got, want) && len(got)+len(want) > 0 {
		y.t.Fatalf("%T: %q, want %q", e, got, want)
	}
	return y
}

// wait lets time pass to the next deadline, which has to be d away.
func (y *tale) wait(d time.Duration, want ...string) *tale {
	y.t.Helper()
	at, any := y.m.Deadline()
	if !any || at-y.now != d {
		y.t.Fatalf("the deadline is %v away (%v), want %v", at-y.now, any, d)
	}
	y.now = at
	return y.step(Tick{}, want...)
}

func (y *tale) role(want string) *tale {
	y.t.Helper()
	if got := y.m.Role(); got != want {
		y.t.Fatalf("the role is %q, want %q", got, want)
	}
	return y
}

func (y *tale) lacks(want string) *tale {
	y.t.Helper()
	if got := y.m.WhyNotGuarded(); got != want || y.m.Guarded() != (want == "") {
		y.t.Fatalf("not guarded since %q (%v), want %q", got, y.m.Guarded(), want)
	}
	return y
}

func item(key, body string) Item { return Item{Key: key, Body: []byte(body)} }
func gone(key string) Item       { return Item{Key: key, Gone: true} }

func active(t *testing.T) *tale {
	return begin(t).step(Begin{}, "Claim").step(Claimed{}, "AwaitBirths").step(BirthsSettled{}, "Act [] settled").step(Loaded{})
}

func standby(t *testing.T) *tale {
	return begin(t).step(Begin{Junior: true}, "Dial").step(Linked{}).
		step(Given{7, item("a", "1")}, "Ack 7").step(SnapshotDone{8}, "Ack 8")
}

func TestFirstOneActsFromDisk(t *testing.T) {
	y := begin(t).role("starting").step(Begin{}, "Claim").step(Claimed{}, "AwaitBirths").lacks("this supervisor is not the active one")
	y.step(BirthsSettled{}, "Act [] settled").role("active").lacks("there is no standby")
}

func TestNoCopyIsCompleteBeforeTheDiskWasRead(t *testing.T) {
	y := begin(t).step(Begin{}, "Claim").step(Claimed{}, "AwaitBirths").step(BirthsSettled{}, "Act [] settled")
	y.step(StandbyJoined{}).lacks("not everything was read from disk yet")
	y.step(Submit{item("a", "1"), 1}, "Give 1 a=1").step(Acked{1}, "Release 1 held").step(Loaded{}, "EndSnapshot 2")
	y.lacks("the standby has not got its copy yet").step(Acked{2}).lacks("")
}

func TestTakeover(t *testing.T) {
	standby(t).role("standby").step(Given{9, item("b", "1")}, "Ack 9").step(Given{10, gone("a")}, "Ack 10").
		step(LinkEnded{}).role("standby").step(ActiveEnded{}, "AwaitBirths").role("standby").
		step(BirthsSettled{}, "Claim").step(Claimed{}, "Act [b=1] complete settled").role("active")
}

// TestTheLinkIsReadToItsEnd: the active one is known to be dead before all that it sent was read.
func TestTheLinkIsReadToItsEnd(t *testing.T) {
	standby(t).step(ActiveEnded{}).step(Given{9, item("a", "2")}).step(LinkEnded{}, "AwaitBirths").
		step(BirthsSettled{}, "Claim").step(Claimed{}, "Act [a=2] complete settled")
}

// TestPartOfACopy: what is gone is told as well, since the disk may still have it.
func TestPartOfACopy(t *testing.T) {
	begin(t).step(Begin{Junior: true}, "Dial").step(Linked{}).step(Given{1, item("a", "1")}, "Ack 1").step(Given{2, item("b", "1")}, "Ack 2").
		step(Given{3, gone("a")}, "Ack 3").step(LinkEnded{}).step(ActiveEnded{}, "AwaitBirths").step(BirthsSettled{}, "Claim").
		step(Claimed{}, "Act [a= gone b=1] settled")
}

func TestABirthThatHangsDelaysTheTakeoverAndNoMore(t *testing.T) {
	y := standby(t).step(LinkEnded{}).step(ActiveEnded{}, "AwaitBirths")
	y.wait(birthPatience, "Claim").step(Claimed{}, "Act [a=1] complete")
}

// TestALockThatADeadOneLeft: the copy is kept while it is tried again.
func TestALockThatADeadOneLeft(t *testing.T) {
	y := standby(t).step(LinkEnded{}).step(ActiveEnded{}, "AwaitBirths").step(BirthsSettled{}, "Claim")
	y.step(ClaimFailed{"a child"}).wait(pauseFirst, "Claim").step(ClaimFailed{"a child"}).wait(2*pauseFirst, "Claim")
	y.step(Claimed{}, "Act [a=1] complete settled")
}

// TestSomebodyElseTookOver: then our copy is of the past.
func TestSomebodyElseTookOver(t *testing.T) {
	standby(t).step(LinkEnded{}).step(ActiveEnded{}, "AwaitBirths").step(BirthsSettled{}, "Claim").step(Taken{}, "Dial").
		step(Linked{}).step(Given{1, item("z", "1")}, "Ack 1").step(SnapshotDone{2}, "Ack 2").
		step(ActiveEnded{}).step(LinkEnded{}, "AwaitBirths").step(BirthsSettled{}, "Claim").step(Claimed{}, "Act [z=1] complete settled")
}

// TestALinkThatEndsWhileTheActiveOneLives: after a second the copy is given up and fetched anew.
func TestALinkThatEndsWhileTheActiveOneLives(t *testing.T) {
	y := standby(t).step(LinkEnded{}).wait(deathPatience, "Dial").role("starting").step(Linked{}).role("standby")
	y.step(LinkEnded{}).step(ActiveEnded{}, "AwaitBirths").step(BirthsSettled{}, "Claim").step(Claimed{}, "Act [] settled")
}

// TestAStandbyThatStoodStill does not give its copy up: the death of the active one may be waiting to be told.
func TestAStandbyThatStoodStill(t *testing.T) {
	y := standby(t).step(LinkEnded{})
	y.now += time.Minute
	y.step(Tick{}).step(ActiveEnded{}, "AwaitBirths").step(BirthsSettled{}, "Claim").step(Claimed{}, "Act [a=1] complete settled")
	z := standby(t).step(LinkEnded{})
	z.now += time.Minute
	z.step(Tick{}).wait(lateSlack, "Dial")
}

func TestSomethingLostOnTheLinkIsFetchedAnew(t *testing.T) {
	standby(t).step(Given{10, item("b", "1")}, "Dial").step(Linked{}).step(Given{3, item("b", "2")}, "Ack 3")
	// From a dead one nothing is taken after the hole: nobody relied on it.
	standby(t).step(ActiveEnded{}).step(Given{10, item("b", "1")}).step(Given{11, item("c", "1")}).step(LinkEnded{}, "AwaitBirths").
		step(BirthsSettled{}, "Claim").step(Claimed{}, "Act [a=1] complete settled")
}

func TestAJuniorLeavesTheClaimToTheOther(t *testing.T) {
	y := begin(t).step(Begin{Junior: true}, "Dial").step(LinkEnded{})
	for y.now < time.Second+juniorPatience-pauseMax {
		at, _ := y.m.Deadline()
		y.now = at
		y.step(Tick{}, "Dial").step(LinkEnded{})
	}
	y.step(Senior{}, "Claim").step(Claimed{}, "AwaitBirths")

	late := begin(t).step(Begin{Junior: true}, "Dial")
	late.now += juniorPatience
	late.step(LinkEnded{}).wait(pauseFirst, "Claim")
}

// TestBothClaim: the one that comes second becomes the standby, also when the first takes a while to listen.
func TestBothClaim(t *testing.T) {
	begin(t).step(Begin{}, "Claim").step(Taken{}, "Dial").step(LinkEnded{}).wait(pauseFirst, "Claim").step(Taken{}, "Dial").
		step(LinkEnded{}).wait(2*pauseFirst, "Claim").step(Taken{}, "Dial").step(Linked{}).role("standby")
}

func TestNewsOfAKeyReplacesWhatWaits(t *testing.T) {
	y := active(t)
	for i := range Window + 2 {
		y.step(Submit{item(fmt.Sprintf("k%02d", i), "1"), 0})
	}
	joined := y.m.Step(y.now, StandbyJoined{})
	if len(joined) != Window {
		t.Fatalf("%d given at once, want %d", len(joined), Window)
	}
	y.step(Submit{item("k65", "2"), 5}).step(Submit{item("k65", "3"), 6}).step(Submit{item("k00", "2"), 7})
	y.step(Acked{2}, "Give 65 k64=1", "Give 66 k65=3").step(Acked{3}, "EndSnapshot 67").step(Acked{4}, "Give 68 k00=2")
	y.step(Acked{66}, "Release 5 held", "Release 6 held").lacks("the standby has not got its copy yet")
	y.step(Acked{67}).lacks("the standby has not acknowledged everything yet").step(Acked{68}, "Release 7 held").lacks("")
}

// TestALinkThatEndsReleasesNothing: the standby may take over with what it has.
func TestALinkThatEndsReleasesNothing(t *testing.T) {
	y := active(t).step(StandbyJoined{}, "EndSnapshot 1").step(Acked{1}).step(Submit{item("a", "1"), 1}, "Give 2 a=1")
	y.step(StandbyCut{}).lacks("the link to the standby has ended").step(Submit{item("b", "1"), 2})
	y.wait(cutPatience, "Fence").wait(cutPatience, "Fence")
	y.step(StandbyLost{}, "Release 1", "Release 2").lacks("there is no standby").step(Submit{item("b", "2"), 3}, "Release 3")
}

// TestAStandbyThatComesBack gets everything anew, and an answer of before counts for nothing.
func TestAStandbyThatComesBack(t *testing.T) {
	y := active(t).step(StandbyJoined{}, "EndSnapshot 1").step(Acked{1}).step(Submit{item("a", "1"), 1}, "Give 2 a=1").step(StandbyCut{})
	y.step(StandbyJoined{}, "Give 3 a=1", "EndSnapshot 4").step(Acked{2}).step(Acked{3}, "Release 1 held").step(Acked{4}).lacks("")
}

func TestWhatIsGoneIsForgotten(t *testing.T) {
	y := active(t).step(Submit{item("a", "1"), 0}).step(Submit{item("b", "1"), 0}).step(Submit{gone("a"), 1}, "Release 1")
	y.step(StandbyJoined{}, "Give 1 b=1", "EndSnapshot 2").step(Acked{2})
	y.step(Submit{gone("b"), 2}, "Give 3 b= gone").step(Acked{3}, "Release 2 held").step(StandbyJoined{}, "EndSnapshot 4")
}

func TestASubmitOfOneThatIsNotActive(t *testing.T) {
	standby(t).step(Submit{item("a", "1"), 3}, "Release 3")
}

// TestRandomEvents: whatever comes in whatever order, there is no panic, Act comes once and only with the lock, at most Window are on
// their way, a ticket is released once at most, and no deadline lies in the past.
func TestRandomEvents(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 5))
		m, now := New(), time.Second
		c := &counter{t: t, released: map[uint64]bool{}, submitted: map[uint64]bool{}}
		for n := range 300 {
			now += time.Duration(random.Int64N(int64(300 * time.Millisecond)))
			e := c.event(random, n)
			if _, is := e.(Claimed); is && m.stage != claiming {
				continue
			}
			c.check(seed, e, m.Step(now, e))
			if at, any := m.Deadline(); any && at <= now {
				t.Fatalf("seed %d: after %T the deadline %v is not after %v", seed, e, at, now)
			}
		}
	}
}

type counter struct {
	t         *testing.T
	seq       uint64 // the highest given
	acked     uint64
	claimed   bool
	acts      int
	ticket    uint64
	released  map[uint64]bool
	submitted map[uint64]bool
}

func (c *counter) event(random *rand.Rand, n int) Event {
	key := string(rune('a' + random.IntN(5)))
	if n == 0 {
		return Begin{Junior: random.IntN(2) == 0}
	}
	switch random.IntN(24) {
	case 0:
		return Senior{}
	case 1, 2:
		return Claimed{}
	case 3:
		return Taken{}
	case 4:
		return ClaimFailed{"busy"}
	case 5, 6:
		return Linked{}
	case 7:
		return LinkEnded{}
	case 8:
		return ActiveEnded{}
	case 9:
		return BirthsSettled{}
	case 10, 11:
		return Given{uint64(random.IntN(4)), item(key, "x")}
	case 12:
		return SnapshotDone{uint64(random.IntN(4))}
	case 13:
		return StandbyJoined{}
	case 14:
		return StandbyCut{}
	case 15:
		return StandbyLost{}
	case 16, 17:
		c.acked = c.seq - min(c.seq, random.Uint64N(3))
		return Acked{c.acked}
	case 18:
		return Loaded{}
	case 19, 20, 21:
		c.ticket++
		c.submitted[c.ticket] = true
		it := item(key, fmt.Sprint(n))
		it.Gone = random.IntN(4) == 0
		return Submit{it, c.ticket}
	}
	return Tick{}
}

func (c *counter) check(seed uint64, e Event, actions []Action) {
	if _, is := e.(Claimed); is {
		c.claimed = true
	}
	given := 0
	for _, a := range actions {
		switch a := a.(type) {
		case Act:
			if c.acts++; c.acts > 1 || !c.claimed {
				c.t.Fatalf("seed %d: Act number %d, with the lock: %v", seed, c.acts, c.claimed)
			}
		case Give:
			given++
			c.next(seed, a.Seq)
		case EndSnapshot:
			given++
			c.next(seed, a.Seq)
		case Release:
			if c.released[a.Ticket] || !c.submitted[a.Ticket] {
				c.t.Fatalf("seed %d: ticket %d is released twice, or was never handed in", seed, a.Ticket)
			}
			c.released[a.Ticket] = true
		}
	}
	if given > Window {
		c.t.Fatalf("seed %d: %d are given at once", seed, given)
	}
}

func (c *counter) next(seed, seq uint64) {
	if seq != c.seq+1 {
		c.t.Fatalf("seed %d: %d is given after %d", seed, seq, c.seq)
	}
	c.seq = seq
}

// TestWhatOthersSpeakOfGoesFirst: also before what waits already, in a snapshot too; that
// it is gone goes after all that may speak of it.
func TestWhatOthersSpeakOfGoesFirst(t *testing.T) {
	first := func(key, body string) Item { return Item{Key: key, Body: []byte(body), First: true} }
	y := active(t).step(StandbyJoined{}, "EndSnapshot 1").step(Acked{1})
	for n := range Window {
		y.step(Submit{item(fmt.Sprint(n), "x"), 0}, fmt.Sprintf("Give %d %d=x", n+2, n))
	}
	y.step(Submit{item("a", "1"), 0}).step(Submit{item("b", "1"), 0})
	y.step(Submit{first("e", "1"), 0}).step(Submit{item("a", "2 of e"), 7}).step(Submit{first("f", "1"), 0})
	y.step(Submit{Item{Key: "f", First: true, Gone: true}, 0})
	y.lacks("the standby has not acknowledged everything yet")
	y.step(Acked{Window + 1}, fmt.Sprintf("Give %d e=1", Window+2), fmt.Sprintf("Give %d a=2 of e", Window+3),
		fmt.Sprintf("Give %d b=1", Window+4), fmt.Sprintf("Give %d f= gone", Window+5))
	y.step(Acked{Window + 5}, "Release 7 held").lacks("")

	z := active(t).step(Submit{item("a", "1"), 0}).step(Submit{first("e", "1"), 0})
	z.step(StandbyJoined{}, "Give 1 e=1", "Give 2 a=1", "EndSnapshot 3")
}
