package supervisor

import (
	"path/filepath"
	"testing"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/custody"
)

// A definition in custody that cannot be read is read from the disk; one that is gone is
// not.
func TestDefinitionThatIsNotWholeIsReadFromTheDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "f")
	l, err := newLoop(Config{Dir: dir, Self: control.First, Peer: control.Second})
	must(t, err)
	defer l.finish()
	defer l.pump.Close()
	define := func(name string) definitionRecord {
		def := control.Default()
		def.Name, def.Command, def.Dir, def.Inherit = name, []string{"/bin/true"}, "/", []string{"A=" + name}
		return definitionRecord{BootID: l.boot, Definition: def}
	}
	var items []custody.Item
	for _, name := range []string{"whole", "torn", "gone"} {
		record := define(name)
		must(t, l.shelf.Store(name, definitionExt, record, false))
		item := custody.Item{Key: definitionItem + name, Gone: name == "gone"}
		if !item.Gone {
			record.Definition.Inherit, record.Environ = nil, "sum-of-"+name
			item.Body = encode(record)
		}
		items = append(items, item)
	}
	items = append(items, custody.Item{Key: environItem + "sum-of-whole", Body: encode([]string{"A=copy"})})

	programs := l.copied(items)
	l.addFromDisk(programs, items, map[string]bool{})
	for name, want := range map[string]string{"whole": "A=copy", "torn": "A=torn"} {
		if p := programs[name]; p == nil || len(p.definition.Inherit) != 1 || p.definition.Inherit[0] != want {
			t.Errorf("%s: %+v, want %s", name, p, want)
		}
	}
	if len(programs) != 2 {
		t.Errorf("%d programs, want 2: what is gone stays so", len(programs))
	}
}
