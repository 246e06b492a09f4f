package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/pairguard/pairguard/internal/custody"
)

// inherited is the variables that programs have inherited from one shell. They share
// them, here and in custody: a thousand copies would be most of what there is.
type inherited struct {
	l     *loop
	sum   string
	list  []string
	users int
}

// share replaces what the program inherits by what it shares with others. What it shared
// before stays until giveDefinition: the standby's definition names it.
func (p *program) share() {
	old := p.environ
	if p.outdated == nil {
		p.outdated, old = old, nil
	}
	defer old.release()
	p.environ = p.l.inherit(p.def.Inherit)
	if p.environ != nil {
		p.def.Inherit = p.environ.list
	}
}

// inherit adds a user. The standby gets the variables before any definition that names
// them.
func (l *loop) inherit(list []string) *inherited {
	if len(list) == 0 {
		return nil
	}
	digest := sha256.Sum256([]byte(strings.Join(list, "\x00")))
	sum := hex.EncodeToString(digest[:16])
	e := l.environs[sum]
	if e == nil {
		e = &inherited{l: l, sum: sum, list: list}
		l.environs[sum] = e
		l.submit(custody.Item{Key: environItem + sum, Body: encode(list), First: true}, nil)
	}
	e.users++
	return e
}

// release takes a user away; nil has none.
func (e *inherited) release() {
	if e == nil {
		return
	}
	if e.users--; e.users == 0 {
		delete(e.l.environs, e.sum)
		e.l.submit(custody.Item{Key: environItem + e.sum, First: true, Gone: true}, nil)
	}
}

// environsOf reads the variables that are in custody, by their sums.
func environsOf(items []custody.Item) map[string][]string {
	all := map[string][]string{}
	for _, it := range items {
		sum, ok := strings.CutPrefix(it.Key, environItem)
		if !ok || it.Gone {
			continue
		}
		var list []string
		if json.Unmarshal(it.Body, &list) == nil {
			all[sum] = list
		}
	}
	return all
}

// releaseUnused takes back what was in custody and no program has.
func (l *loop) releaseUnused(items []custody.Item) {
	for _, it := range items {
		sum, ok := strings.CutPrefix(it.Key, environItem)
		if ok && !it.Gone && l.environs[sum] == nil {
			l.submit(custody.Item{Key: it.Key, First: true, Gone: true}, nil)
		}
	}
}
