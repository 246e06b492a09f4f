package custody

// Action is something that the driver has to do, in the order given; what takes time runs aside and reports back as an Event. The
// set is sealed.
type Action interface{ action() }

type (
	// Claim tries to take the lock of the active one: Claimed, Taken or ClaimFailed follows.
	Claim struct{}
	// Dial closes what custody link there is, drops all descriptors that came over it, and connects to the active one: Linked or
	// LinkEnded follows.
	Dial struct{}
	// AwaitBirths waits until no process of the one who died is on its way between fork and exec: BirthsSettled follows.
	AwaitBirths struct{}
	// Ack tells the active one that we have everything up to Seq.
	Ack struct{ Seq uint64 }
	// Act makes us the active one. It comes once, and only while we hold the lock.
	Act struct {
		// Copy is what the one who died had handed over. Where it names a key, also as gone, it is newer than the disk.
		Copy []Item
		// Complete: there is nothing else. If not, the disk is read as well: Loaded follows.
		Complete bool
		// Settled: there are no births of the one who died any more. If not, they were waited for in vain: each open intent has to wait for
		// them itself before it is resolved.
		Settled bool
	}

	// Give hands an Item to the standby, with the descriptors that it has now. The driver never waits for the link: there are at most
	// Window of them that are not acknowledged.
	Give struct {
		Seq  uint64
		Item Item
	}
	// EndSnapshot tells the standby that it has been given all there is.
	EndSnapshot struct{ Seq uint64 }
	// Release answers a Ticket. Held: the standby has what was submitted, or something newer of the same key. If not, there is no standby,
	// and none that could take over with less; what has to outlive us is safe only on disk.
	Release struct {
		Ticket uint64
		Held   bool
	}
	// Fence ends the process of the standby, which lives and has no link, by force: StandbyLost follows.
	Fence struct{}
)

func (Claim) action()       {}
func (Dial) action()        {}
func (AwaitBirths) action() {}
func (Ack) action()         {}
func (Act) action()         {}
func (Give) action()        {}
func (EndSnapshot) action() {}
func (Release) action()     {}
func (Fence) action()       {}
