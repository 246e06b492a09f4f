package supervisors

import "fmt"

// broken is a variant of the drivers or of the world that breaks a promise on purpose, to show that the checkers see it. The machines
// are the shipped ones in every variant.
type broken uint8

const (
	sound broken = iota
	ackIgnored
	intentNotStored
	twoReaders
	birthsNotAwaited
	rotationNotAcked
	pipeNotGiven
	cutTakenForDeath
	treeNotAwaited
	answerBeforeAck
	juniorClaims
	guardedLies
	generationIgnored
	neitherLockNorProof
	adoptionDoesNotLook
	loadedTooEarly
	linkNotDrained
	endTakenForDeath
	lockNotExclusive
	brokenCount
)

// Variant is a broken variant in words.
type Variant struct {
	Name    string
	Promise string // that it breaks; empty: none, since something else keeps it too
	What    string
	Seed    uint64 // where the search for a failure begins, for those that show rarely
}

var variants = [brokenCount]Variant{
	ackIgnored:          {"ack-ignored", doubled, "a program is forked before the standby has acknowledged the intent", 0},
	intentNotStored:     {"intent-not-stored", doubled, "a program is forked before anybody else knows of the intent", 0},
	twoReaders:          {"two-readers", output, "the standby reads the output too", 0},
	birthsNotAwaited:    {"births-not-awaited", doubled, "a takeover does not wait for children between fork and exec", 0},
	rotationNotAcked:    {"rotation-not-acknowledged", output, "the first byte goes into a new log before the standby has it", 0},
	pipeNotGiven:        {"pipe-not-given", output, "the standby gets the output pipe with the process, not with the intent", 0},
	cutTakenForDeath:    {"cut-taken-for-death", doubled, "the end of the link to the standby is taken for the proof of its death", 0},
	treeNotAwaited:      {"tree-not-awaited", doubled, "a program is started again before its old tree is gone", 0},
	answerBeforeAck:     {"answer-before-ack", stays, "people are answered before anybody else knows of their wish", 0},
	juniorClaims:        {"junior-claims", silenced, "a supervisor that was just started does not leave the claim to the standby", 29600},
	guardedLies:         {"guarded-lies", truth, "what was sent counts as acknowledged", 0},
	generationIgnored:   {"generation-ignored", disturbed, "a restart that is asked for again is made again", 2000},
	neitherLockNorProof: {"neither-lock-nor-proof", single, "the standby takes the end of the link for the proof of the death, and the lock is freed while its holder lives", 0},
	adoptionDoesNotLook: {"adoption-does-not-look", doubled, "after both died the records on disk are believed, also when the disk was full", 0},
	loadedTooEarly:      {"loaded-too-early", silenced, "a copy counts as complete before the active one has read the disk", 1600},
	linkNotDrained:      {"link-not-drained", "", "what the dead one had sent is not read to the end: nobody relied on what was not acknowledged", 0},
	endTakenForDeath:    {"end-taken-for-death", "", "the standby takes the end of the link for the proof of the death: the lock is still held", 0},
	lockNotExclusive:    {"lock-not-exclusive", "", "the lock is freed while its holder lives: the proof of the death is still waited for", 0},
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
