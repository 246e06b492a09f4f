package sim

import "fmt"

// broken is a variant of the world that breaks a promise on purpose, to show that
// the checkers see it. The machines are the shipped ones in every variant; what
// is around them is not.
type broken uint8

const (
	sound broken = iota
	lockFreedEarly
	spawnLost
	leaveCountsForAnyLife
	noFence
	endTakenForDeath
	goodbyeNotStored
	goodbyeReadBeforeFence
	goodbyeReadBeforeLock
	successorDoesNotLook
	ownLatenessIgnored
	plainPeerProbed
	holdIgnored
	stopNotRead
	stopDoesNotKill
	backoffIgnored
	holderNotChecked
	starvationUnseen
	debuggerUnseen
	freezerUnseen
	stopTakenForDebugger
	spinTakenForHunger
	leaverDoesNotWait
	intentNotResolved
	stopNeverOver
	brokenCount
)

// Variant is a broken variant in words.
type Variant struct {
	Name    string
	Promise string // that it breaks
	What    string
}

var variants = [brokenCount]Variant{
	lockFreedEarly:         {"lock-freed-early", "P1", "the name lock is freed while its process lives, as a lock with a timer would be"},
	spawnLost:              {"spawn-lost", "P2", "a start never happens and never reports"},
	leaveCountsForAnyLife:  {"leave-counts-for-any-life", "P2", "a leave of an earlier life counts for the newest one"},
	noFence:                {"no-fence", "P3", "a kill is answered by a death that did not happen"},
	endTakenForDeath:       {"end-taken-for-death", "P3", "the end of a link is taken for the proof of the death"},
	goodbyeNotStored:       {"goodbye-not-stored", "P4", "a goodbye is said but not stored"},
	goodbyeReadBeforeFence: {"goodbye-read-before-fence-only", "P4", "the folder is read before the proof of the death, not after it"},
	goodbyeReadBeforeLock:  {"goodbye-read-before-lock", "P4", "a survey reads the goodbyes before the lock"},
	successorDoesNotLook:   {"successor-does-not-look", "P4", "a revival begins though its name has left since it was started"},
	ownLatenessIgnored:     {"own-lateness-ignored", "P5", "a timer that came late is told as if it had been on time"},
	plainPeerProbed:        {"plain-peer-probed", "P5", "a plain peer is judged and probed as one that speaks"},
	holdIgnored:            {"hold-ignored", "P5", "a hold is not read"},
	stopNotRead:            {"stop-not-read", "P4", "the stored stop is not read"},
	stopDoesNotKill:        {"stop-does-not-kill", "P6", "a member that ends the pair does not kill the peer after the grace time"},
	backoffIgnored:         {"backoff-ignored", "P8", "every revival is immediate"},
	holderNotChecked:       {"holder-not-checked", "P9", "a HELLO counts though its speaker does not hold the name"},
	starvationUnseen:       {"starvation-unseen", "P5", "one that wants to run and gets no time is taken for one that sleeps"},
	debuggerUnseen:         {"debugger-unseen", "P5", "a debugger is not seen"},
	freezerUnseen:          {"freezer-unseen", "P5", "a frozen cgroup is not seen"},
	stopTakenForDebugger:   {"stop-taken-for-debugger", "P2", "whoever is stopped is taken for one that is being debugged"},
	spinTakenForHunger:     {"spin-taken-for-hunger", "P2", "the time that a process gets is not seen, so that one that spins seems to starve"},
	leaverDoesNotWait:      {"leaver-does-not-wait", "P2", "whoever is asked to leave does so at once, whatever it owes"},
	intentNotResolved:      {"intent-not-resolved", "P3", "what was started is not looked for when its starter died before it recorded it"},
	stopNeverOver:          {"stop-never-over", "P6", "a stop is read that a person has ended by a start"},
}

// Variants lists what can be broken.
func Variants() []Variant { return variants[1:] }

// byName finds a variant; "" is the sound world.
func byName(name string) (broken, error) {
	if name == "" {
		return sound, nil
	}
	for i, v := range variants {
		if v.Name == name && i > 0 {
			return broken(i), nil
		}
	}
	return sound, fmt.Errorf("there is no broken variant %q: BREAK=list lists them", name)
}
