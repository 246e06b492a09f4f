package custody

// Item is what is known of one thing in custody: a program, or whatever else has a key. Descriptors travel beside it in the driver.
type Item struct {
	Key   string
	Body  []byte // not changed by anybody after it was handed in
	Files int    // how many descriptors belong to it
	Gone  bool   // there is no such thing any more
	// First: others speak of it, so it is given before all that waits. That it is gone is not.
	First bool
}

// Event is something that happened outside. The set is sealed. What answers nothing changes nothing.
type Event interface{ event() }

// For every supervisor.
type (
	// Begin comes first, once. Junior: the other supervisor lived when we were started. It may hold a copy of everything and be about to
	// take over, which we, who would have to read the disk, leave to it.
	Begin struct{ Junior bool }
	// Senior: the supervisor that lived when we began is proved dead.
	Senior struct{}
	// Claimed answers Claim: we hold the lock of the active one.
	Claimed struct{}
	// Taken answers Claim: another living supervisor holds it.
	Taken struct{}
	// ClaimFailed answers Claim: nobody knows who holds it, or it is held by what a dead one left (a child between fork and exec).
	ClaimFailed struct{ Reason string }
	// BirthsSettled answers AwaitBirths.
	BirthsSettled struct{}
	// Tick: the Deadline has passed.
	Tick struct{}
)

// For the standby.
type (
	// Linked answers Dial: the custody link is up, and there is a handle on the active one.
	Linked struct{}
	// LinkEnded: the Dial failed, or nothing more will come of the link: its end was read, or the active one is proved dead and what it
	// had sent was read to the last.
	LinkEnded struct{}
	// ActiveEnded: the process at the other end of the link, or of the Dial, is proved dead.
	ActiveEnded struct{}
	// Given: the active one handed an Item over; its descriptors are already kept under its key, and those before are closed.
	Given struct {
		Seq  uint64
		Item Item
	}
	// SnapshotDone: what was given until now is all that there is.
	SnapshotDone struct{ Seq uint64 }
)

// For the active one.
type (
	// Submit: this is how it is with Item.Key from now on. Ticket, when not 0, is released when whoever takes over knows it.
	Submit struct {
		Item   Item
		Ticket uint64
	}
	// Loaded: after an Act that was not Complete, everything that the disk has was submitted. No copy counts as complete before that.
	Loaded struct{}
	// StandbyJoined: a standby has linked, with nothing in its hands; one that was there before is not any more.
	StandbyJoined struct{}
	// StandbyCut: the link to the standby has ended. Its process may live.
	StandbyCut struct{}
	// StandbyLost: the process of the standby is proved dead. That of an earlier one is told before the next one joins, or not at all.
	StandbyLost struct{}
	// Acked: the standby has everything up to Seq.
	Acked struct{ Seq uint64 }
)

func (Begin) event()         {}
func (Senior) event()        {}
func (Claimed) event()       {}
func (Taken) event()         {}
func (ClaimFailed) event()   {}
func (BirthsSettled) event() {}
func (Tick) event()          {}
func (Linked) event()        {}
func (LinkEnded) event()     {}
func (ActiveEnded) event()   {}
func (Given) event()         {}
func (SnapshotDone) event()  {}
func (Submit) event()        {}
func (Loaded) event()        {}
func (StandbyJoined) event() {}
func (StandbyCut) event()    {}
func (StandbyLost) event()   {}
func (Acked) event()         {}
