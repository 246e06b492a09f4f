package output

import (
	"bytes"
	"context"
	"os"
	"slices"
	"sync"
	"testing"
)

func TestOutputReachesTheLogAcrossRotations(t *testing.T) {
	handed := 0
	r := newRig(t, kernel{}, LogSpec{Size: 4096, Keep: 100}, Hooks{Handover: func(log *os.File) error {
		if info, err := log.Stat(); err != nil || info.Size() != 0 {
			t.Errorf("a new log is handed over with %v, %v in it", info.Size(), err)
		}
		handed++
		return nil
	}})
	r.write(lines(0, 3000))
	r.drained()
	wantLines(t, r.all(), 0, 3000)
	files := older(t, r.spec.Path)
	if len(files) < 20 || len(files) != handed || files[len(files)-1] != len(files) {
		t.Fatalf("older files %v after %d hand-overs", files, handed)
	}
	for _, k := range files {
		text := must1(os.ReadFile(r.spec.Path + "." + itoa(k)))(t)
		if len(text) < 4096 || len(text) > 4096+64 || !bytes.HasSuffix(text, []byte("\n")) {
			t.Errorf("older file %d has %d bytes and ends with %q", k, len(text), text[len(text)-1:])
		}
	}
	if notes := r.notes.all(); notes != "" {
		t.Errorf("notes without a reason: %s", notes)
	}
}

func TestKeepRemovesTheOldest(t *testing.T) {
	r := newRig(t, kernel{}, LogSpec{Size: 1024, Keep: 3}, Hooks{})
	for n := 0; n < 300; n += 10 {
		r.write(lines(n, n+10))
		r.drained()
	}
	if got := older(t, r.spec.Path); !slices.Equal(got, []int{1, 2, 3}) {
		t.Fatalf("older files %v", got)
	}
	text := r.all()
	first := bytes.IndexByte([]byte(text), ' ')
	wantLines(t, text, atoi(text[:first]), 300)
}

func TestFollowSeesEachByteOnceAcrossRotations(t *testing.T) {
	r := newRig(t, kernel{}, LogSpec{Size: 2048, Keep: 1000}, Hooks{})
	r.write(lines(0, 500))
	r.drained()
	var first bytes.Buffer
	at := must1(Copy(&first, r.spec, true))(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var rest bytes.Buffer
	var done sync.WaitGroup
	done.Go(func() {
		if err := Follow(ctx, &rest, r.spec.Path, at); err != nil {
			t.Error(err)
		}
	})
	for n := 500; n < 5000; n += 50 {
		r.write(lines(n, n+50))
	}
	r.drained()
	cancel()
	done.Wait()
	wantLines(t, first.String(), 0, 500)
	wantLines(t, rest.String(), 500, 5000)
}
