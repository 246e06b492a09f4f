package supervisor

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pairguard/pairguard/internal/pairdir"
)

// heldScribe is a scribe that is kept busy until the function is called.
func heldScribe(t *testing.T) (*scribe, *pairdir.Shelf, func()) {
	t.Helper()
	dir, err := pairdir.Open(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	shelf, err := dir.Shelf(shelfName)
	if err != nil {
		t.Fatal(err)
	}
	s := newScribe(shelf)
	busy, release := make(chan struct{}), make(chan struct{})
	s.store("busy", runExt, processRecord{}, false, func(error) { close(busy); <-release })
	<-busy
	return s, shelf, func() {
		close(release)
		s.close()
		<-s.done
	}
}

// What somebody waits for is written before the rest, in order, and the newest state of
// each record once.
func TestScribeWritesFirstWhatIsAwaited(t *testing.T) {
	s, shelf, release := heldScribe(t)
	var order []string
	written := func(what string) func(error) {
		return func(err error) {
			if err != nil {
				t.Error(err)
			}
			order = append(order, what)
		}
	}
	value := func(n uint64) processRecord { return processRecord{Generation: n} }
	s.storeLater("a", runExt, value(1), written("a1"))
	s.storeLater("b", runExt, value(1), written("b1"))
	s.store("c", runExt, value(1), false, written("c1"))
	s.store("b", runExt, value(2), false, written("b2"))
	s.storeLater("c", runExt, value(2), written("c2"))
	s.storeLater("d", runExt, value(1), written("d1"))
	s.store("a", definitionExt, value(3), true, written("definition"))
	release()
	want := []string{"c1", "c2", "b1", "b2", "definition", "a1", "d1"}
	if !slices.Equal(order, want) {
		t.Errorf("written: %v, want %v", order, want)
	}
	for name, n := range map[string]uint64{"a": 1, "b": 2, "c": 2, "d": 1} {
		var got processRecord
		if found, err := shelf.Load(name, runExt, &got, func() error { return nil }); !found || err != nil || got.Generation != n {
			t.Errorf("%s is %v, %v, want %d", name, got, err, n)
		}
	}
}

// However much is awaited, the rest gets its turn.
func TestScribeForgetsNobody(t *testing.T) {
	s, _, release := heldScribe(t)
	var order []string
	s.storeLater("patient", runExt, processRecord{}, func(error) { order = append(order, "patient") })
	for i := range 3 * othersAfter {
		s.store(fmt.Sprintf("p%d", i), runExt, processRecord{}, false, func(error) { order = append(order, "") })
	}
	release()
	if i := slices.Index(order, "patient"); i < 0 || i > othersAfter || len(order) != 3*othersAfter+1 {
		t.Errorf("it is written as number %d of %d, want %d", i, len(order), othersAfter)
	}
}
