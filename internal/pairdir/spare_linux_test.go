package pairdir

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A record that is stored again and again needs two files, whatever its lengths are,
// and what is read is always what was stored.
func TestSpareIsUsedAgain(t *testing.T) {
	s, err := testDir(t).Shelf("programs")
	if err != nil {
		t.Fatal(err)
	}
	inodes := map[uint64]bool{}
	for i := range 50 {
		text := strings.Repeat(string(rune('a'+i%26)), 1+(i*37)%5000)
		if err := s.Store("web", ".run", note{text}, false); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(s.Path("web", ".run"))
		if err != nil {
			t.Fatal(err)
		}
		inodes[info.Sys().(*syscall.Stat_t).Ino] = true
		var got note
		if found, err := s.Load("web", ".run", &got, fine); !found || err != nil || got.Text != text {
			t.Fatalf("store %d: %v, %v, %d bytes", i, found, err, len(got.Text))
		}
	}
	if len(inodes) != 2 {
		t.Errorf("%d files for one record", len(inodes))
	}
	if err := s.Remove("web", ".run"); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(s.dir.path); err != nil || len(left) > 0 {
		t.Errorf("after Remove: %v, %v", left, err)
	}
}

// A reader that is overtaken by two stores reads again instead of taking a mixture for
// the record, or the record for damaged.
func TestReadersNeverSeeATornRecord(t *testing.T) {
	s, err := testDir(t).Shelf("programs")
	if err != nil {
		t.Fatal(err)
	}
	store := func(i int) error {
		return s.Store("web", ".run", note{strings.Repeat(string(rune('a'+i%26)), 30_000)}, false)
	}
	if err := store(0); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	quit := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for {
				var got note
				found, err := s.Load("web", ".run", &got, fine)
				if !found || err != nil || strings.Count(got.Text, got.Text[:1]) != 30_000 {
					t.Errorf("%v, %v, %d bytes", found, err, len(got.Text))
					return
				}
				select {
				case <-quit:
					return
				default:
				}
			}
		})
	}
	for i := range 5000 {
		if err := store(i); err != nil {
			t.Error(err)
			break
		}
	}
	close(quit)
	readers.Wait()
}

// Another writer holds the spare file, or is writing what was one: it is left alone.
func TestSpareOfAnotherWriter(t *testing.T) {
	s, err := testDir(t).Shelf("programs")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if err := s.Store("web", ".run", note{text}, false); err != nil {
			t.Fatal(err)
		}
	}
	spare := sparePath(s.Path("web", ".run"))
	other, err := openSpare(spare)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := openSpare(spare); err == nil {
		t.Fatal("two writers have one file")
	}
	if err := s.Store("web", ".run", note{"three"}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := other.WriteString("rubbish"); err != nil {
		t.Fatal(err)
	}
	var got note
	if found, err := s.Load("web", ".run", &got, fine); !found || err != nil || got.Text != "three" {
		t.Fatalf("%v, %v, %q", found, err, got.Text)
	}
}

// Whatever is in the place of the spare file, records are stored.
func TestSpareThatIsSomethingElse(t *testing.T) {
	s, err := testDir(t).Shelf("programs")
	if err != nil {
		t.Fatal(err)
	}
	spare, victim := sparePath(s.Path("web", ".run")), s.Path("victim", "")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, make := range map[string]func() error{
		"folder": func() error { return os.Mkdir(spare, 0o700) },
		"link":   func() error { return os.Symlink(victim, spare) },
		"pipe":   func() error { return syscall.Mkfifo(spare, 0o600) },
		"giant":  func() error { return errors.Join(os.WriteFile(spare, nil, 0o600), os.Truncate(spare, 1<<40)) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Store("web", ".run", note{what}, false); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		var got note
		if found, err := s.Load("web", ".run", &got, fine); !found || err != nil || got.Text != what {
			t.Fatalf("%s: %v, %v, %q", what, found, err, got.Text)
		}
		if err := os.RemoveAll(spare); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "mine" {
		t.Fatalf("the file behind the link: %q, %v", b, err)
	}
}
