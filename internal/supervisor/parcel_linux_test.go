package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/pairguard/pairguard/internal/ipc"
)

// queueOf makes parcels with bodies of those sizes, and a file each that its number is
// written on.
func queueOf(t *testing.T, sizes ...int) (queue []outgoing) {
	t.Helper()
	for i, size := range sizes {
		f, err := os.Create(fmt.Sprintf("%s/%d", t.TempDir(), i))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		p := parcel{Kind: itemParcel, Seq: uint64(i + 1), Key: fmt.Sprintf("run/%d", i), Files: 1, Body: bytes.Repeat([]byte("\n{"), size/2)}
		queue = append(queue, outgoing{p.appendTo(nil), []*os.File{f}})
	}
	return queue
}

// What is packed comes out as it was, in order, each with its own files.
func TestPack(t *testing.T) {
	sizes := []int{0, 10, 4000, recordSize - 4300, 2, 3 * recordSize, 0, 6, recordSize}
	for range 2 * ipc.MaxFiles {
		sizes = append(sizes, 0)
	}
	queue := queueOf(t, sizes...)
	records, seen := 0, 0
	for rest := queue; len(rest) > 0; records++ {
		var record outgoing
		record, rest = pack(rest)
		parcels, err := parseRecord(record.bytes, record.files)
		if err != nil {
			t.Fatal(err)
		}
		if len(parcels) > 1 && len(record.bytes) > recordSize || len(record.files) > ipc.MaxFiles {
			t.Errorf("%d parcels, %d bytes, %d files in one record", len(parcels), len(record.bytes), len(record.files))
		}
		for _, p := range parcels {
			if want := sizes[seen] / 2 * 2; p.Seq != uint64(seen+1) || p.Key != fmt.Sprintf("run/%d", seen) || len(p.Body) != want {
				t.Fatalf("parcel %d is %d %s of %d bytes, want %d", seen, p.Seq, p.Key, len(p.Body), want)
			}
			if len(p.files) != 1 || p.files[0] != queue[seen].files[0] {
				t.Fatalf("parcel %d has the files %v", seen, p.files)
			}
			seen++
		}
	}
	if seen != len(sizes) || records > 10 {
		t.Errorf("%d of %d parcels in %d records", seen, len(sizes), records)
	}
}

// A record that is not what was sent is refused as a whole.
func TestParseRecordRefuses(t *testing.T) {
	queue := queueOf(t, 6, 8)
	record, _ := pack(queue)
	whole, files := record.bytes, record.files
	for what, c := range map[string]struct {
		bytes []byte
		files []*os.File
	}{
		"cut off":         {whole[:len(whole)-1], files},
		"longer":          {append(bytes.Clone(whole), 'x'), files},
		"a file too few":  {whole, files[:1]},
		"a file too many": {whole, append([]*os.File{os.Stdin}, files...)},
		"no head":         {[]byte("{\n"), nil},
		"negative size":   {[]byte(`{"kind":"item","size":-1}` + "\n"), nil},
		"unknown kind":    {[]byte(`{"kind":"item","seq":1}` + "\n" + `{"boot_id":"x"}`), nil}, // as it once was
		"negative files":  {[]byte(`{"kind":"item","files":-1}` + "\n"), nil},
	} {
		if parcels, err := parseRecord(c.bytes, c.files); err == nil {
			t.Errorf("%s: %d parcels came of it", what, len(parcels))
		}
	}
	if parcels, err := parseRecord(whole, files); err != nil || len(parcels) != 2 {
		t.Errorf("the whole one: %d parcels, %v", len(parcels), err)
	}
}

// A standby of another version would misunderstand what it is given, or we it.
func TestParseJoining(t *testing.T) {
	said := func(body string) []arrived {
		return []arrived{{parcel: parcel{Kind: joinParcel, Body: []byte(body)}}}
	}
	j, err := parseJoining(said(string(encode(joining{Version: custodyVersion, Generation: 7}))))
	if err != nil || j.Generation != 7 {
		t.Errorf("%+v, %v", j, err)
	}
	for _, body := range []string{`{"generation":7}`, `{"version":99}`} {
		if _, err := parseJoining(said(body)); !errors.Is(err, errVersion) {
			t.Errorf("%s: %v", body, err)
		}
	}
	for what, record := range map[string][]arrived{
		"nothing":   nil,
		"two":       append(said(`{"version":1}`), said(`{"version":1}`)...),
		"an item":   {{parcel: parcel{Kind: itemParcel, Body: []byte(`{"version":1}`)}}},
		"no object": said("[]"),
	} {
		if _, err := parseJoining(record); err == nil || errors.Is(err, errVersion) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
