package pairguard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pairguard/pairguard/internal/pairdir"
)

// rosterEntry is one name that the folder knows: it has lived there, or one that
// has lived there guards it.
type rosterEntry struct {
	name, peer pairdir.Name
	life       pairdir.Life // the newest; zero when lived is false
	lived      bool
}

// roster lists the known names in the order of their keys.
func (f *Folder) roster() ([]rosterEntry, error) {
	if f.dir == nil {
		return nil, nil
	}
	members, err := f.dir.Members()
	if err != nil && len(members) == 0 {
		return nil, fmt.Errorf("pairguard: %w", err)
	}
	// A record that cannot be read does not keep a person from the other ones; its
	// name is still known through its peer's.
	members = slices.DeleteFunc(members, func(m pairdir.Member) bool { return m.Peer.Key() == "" })
	byKey := map[string]rosterEntry{}
	for _, m := range members {
		byKey[m.Name.Key()] = rosterEntry{name: m.Name, peer: m.Peer, life: m.Life, lived: true}
	}
	// A peer without a life of its own never was a member: a plain peer, an
	// ordinary program, or one that could not be started yet.
	for _, m := range members {
		if _, ok := byKey[m.Peer.Key()]; !ok {
			byKey[m.Peer.Key()] = rosterEntry{name: m.Peer, peer: m.Name}
		}
	}
	known := make([]rosterEntry, 0, len(byKey))
	for _, e := range byKey {
		known = append(known, e)
	}
	slices.SortFunc(known, func(a, b rosterEntry) int { return cmp.Compare(a.name.Key(), b.name.Key()) })
	return known, nil
}

// choose picks the named entries, all of them when nobody is named.
func (f *Folder) choose(known []rosterEntry, names []string) ([]rosterEntry, error) {
	if len(names) == 0 {
		return known, nil
	}
	var chosen []rosterEntry
	for _, text := range names {
		i := slices.IndexFunc(known, func(e rosterEntry) bool { return f.means(text, e.name) })
		if i < 0 {
			return nil, f.unknownName(text, known)
		}
		chosen = append(chosen, known[i])
	}
	return chosen, nil
}

// means reports whether text is a way to write n: an address has several.
func (f *Folder) means(text string, n pairdir.Name) bool {
	if text == n.String() {
		return true
	}
	parsed, err := f.dir.Name(text)
	return err == nil && parsed.Key() == n.Key()
}

func (f *Folder) unknownName(text string, known []rosterEntry) error {
	if len(known) == 0 {
		return fmt.Errorf("pairguard: %w %q: there is no member in %s: start a pair first, or name its folder", ErrUnknownName, text, f.path)
	}
	var names []string
	for _, e := range known {
		names = append(names, e.name.String())
	}
	return fmt.Errorf("pairguard: %w %q in %s: known there: %s", ErrUnknownName, text, f.path, strings.Join(names, ", "))
}

// pairOf is two entries that guard each other.
type pairOf struct{ a, b rosterEntry }

// pairs are the pairs that the chosen entries belong to, each once.
func pairs(known, chosen []rosterEntry) []pairOf {
	var all []pairOf
	seen := map[string]bool{}
	for _, e := range chosen {
		i := slices.IndexFunc(known, func(o rosterEntry) bool { return o.name.Key() == e.peer.Key() })
		p := pairOf{a: e, b: known[i]} // roster has every peer
		if p.b.name.Key() < p.a.name.Key() {
			p.a, p.b = p.b, p.a
		}
		if key := p.a.name.Key() + "+" + p.b.name.Key(); !seen[key] {
			seen[key] = true
			all = append(all, p)
		}
	}
	return all
}

// members are the entries of the pair that still belong to it: one may have been
// started later with another peer, and is not to be ended with its old one.
func (p pairOf) members() []rosterEntry {
	var in []rosterEntry
	for _, m := range []struct{ e, other rosterEntry }{{p.a, p.b}, {p.b, p.a}} {
		if !m.e.lived || m.e.peer.Key() == m.other.name.Key() {
			in = append(in, m.e)
		}
	}
	return in
}
