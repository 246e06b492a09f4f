package pairdir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type note struct {
	Text string `json:"text"`
}

func TestShelfKeepsRecords(t *testing.T) {
	d := testDir(t)
	s, err := d.Shelf("programs")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web", "db"} {
		if err := s.Store(name, ".run", note{strings.Repeat(name, 10_000)}, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Store("web", ".program", note{"x"}, true); err != nil {
		t.Fatal(err)
	}
	names, err := s.Names(".run")
	if err != nil || !slices.Equal(names, []string{"db", "web"}) {
		t.Fatalf("Names: %q, %v", names, err)
	}
	var got note
	if found, err := s.Load("web", ".run", &got, fine); !found || err != nil || len(got.Text) != 30_000 {
		t.Fatalf("Load: %v, %v, %d bytes", found, err, len(got.Text))
	}
	if err := s.Remove("web", ".run"); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Load("web", ".run", &got, fine); found || err != nil {
		t.Fatalf("after Remove: %v, %v", found, err)
	}
}

func TestShelfIsMadeAgain(t *testing.T) {
	d := testDir(t)
	s, err := d.Shelf("programs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(d.Path()); err != nil {
		t.Fatal(err)
	}
	if err := s.Store("web", ".run", note{"x"}, false); err != nil {
		t.Fatalf("after the folder was removed: %v", err)
	}
	if _, err := Open(d.Path()); err != nil {
		t.Fatalf("the folder that was made again: %v", err)
	}
}

func TestShelfSetsDamageAside(t *testing.T) {
	s, err := testDir(t).Shelf("programs")
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"", "{", `{"version":9,"text":"x"}`, `{"version":1,"text":"bad"}`, `{"version":1,"crc32":"00000000","text":"x"}`, `{"version":1,"crc32":"`, strings.Repeat("x", shelfRoom+1)} {
		if err := os.WriteFile(s.Path("web", ".run"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var got note
		found, err := s.Load("web", ".run", &got, func() error {
			if got.Text == "bad" {
				return errors.New("it is bad")
			}
			return nil
		})
		var damaged *DamagedError
		if found || !errors.As(err, &damaged) {
			t.Errorf("%.20q: %v, %v", content, found, err)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(s.Path("web", "")), "web.run.damaged")); err != nil {
			t.Errorf("%.20q: not set aside: %v", content, err)
		}
	}
}

func TestShelfRefusesWhatDoesNotFit(t *testing.T) {
	s, err := testDir(t).Shelf("programs")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store("web", ".run", note{"old"}, false); err != nil {
		t.Fatal(err)
	}
	if err := s.Store("web", ".run", note{strings.Repeat("x", shelfRoom)}, false); err == nil {
		t.Fatal("a record that cannot be read again was stored")
	}
	var got note
	if found, err := s.Load("web", ".run", &got, fine); !found || err != nil || got.Text != "old" {
		t.Fatalf("the old record: %v, %v, %q", found, err, got.Text)
	}
}

func fine() error { return nil }
