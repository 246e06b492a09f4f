package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/ipc"
)

// parcel is what the custody link carries: its head as a line of JSON, then Body as it
// is. A record has one or more of them, and their descriptors in the same order. The
// active one sends items and the end of the snapshot; the standby one acknowledges.
type parcel struct {
	Kind string `json:"kind"` // item, end, ack or join
	Seq  uint64 `json:"seq"`
	Key  string `json:"key,omitempty"`
	Gone bool   `json:"gone,omitempty"`
	// Files is how many descriptors come along: one that got lost on the way is noticed.
	Files int    `json:"files,omitempty"`
	Size  int    `json:"size,omitempty"` // bytes of Body
	Body  []byte `json:"-"`
}

// custodyVersion grows with each change of what the custody link carries that those who
// know only what was before would misunderstand.
const custodyVersion = 1

const (
	itemParcel = "item"
	endParcel  = "end"
	ackParcel  = "ack"
	joinParcel = "join" // first, from the standby: a joining
)

var kinds = []string{itemParcel, endParcel, ackParcel, joinParcel}

func itemOf(seq uint64, i custody.Item) parcel {
	return parcel{Kind: itemParcel, Seq: seq, Key: i.Key, Gone: i.Gone, Body: i.Body, Files: i.Files}
}

func (p parcel) item() custody.Item {
	return custody.Item{Key: p.Key, Body: p.Body, Files: p.Files, Gone: p.Gone}
}

// appendTo adds the parcel to a record.
func (p parcel) appendTo(record []byte) []byte {
	p.Size = len(p.Body)
	record = append(record, encode(p)...)
	record = append(record, '\n')
	return append(record, p.Body...)
}

// arrived is a parcel with its descriptors.
type arrived struct {
	parcel
	files []*os.File
}

// receive waits for a record.
func receive(conn *ipc.Courier) ([]arrived, error) {
	b, files, err := conn.Receive()
	if err != nil {
		return nil, err
	}
	parcels, err := parseRecord(b, files)
	if err != nil {
		closeAll(files)
		return nil, fmt.Errorf("custody link: %w", err)
	}
	return parcels, nil
}

// parseRecord takes a record apart; the files stay the caller's when it is refused.
func parseRecord(b []byte, files []*os.File) (parcels []arrived, err error) {
	for len(b) > 0 {
		var p parcel
		head, rest, _ := bytes.Cut(b, []byte{'\n'})
		if err := json.Unmarshal(head, &p); err != nil {
			return nil, err
		}
		if !slices.Contains(kinds, p.Kind) { // perhaps of a version that writes records in another way
			return nil, fmt.Errorf("a parcel of an unknown kind %q", p.Kind)
		}
		if p.Size < 0 || p.Size > len(rest) {
			return nil, fmt.Errorf("a body of %d bytes where %d are left", p.Size, len(rest))
		}
		if p.Files < 0 || p.Files > len(files) {
			return nil, fmt.Errorf("%d descriptors came instead of %d: are descriptors used up?", len(files), p.Files)
		}
		p.Body = bytes.Clone(rest[:p.Size]) // what is kept of it is not to keep the whole record
		parcels = append(parcels, arrived{p, files[:p.Files:p.Files]})
		b, files = rest[p.Size:], files[p.Files:]
	}
	if len(files) > 0 {
		return nil, fmt.Errorf("%d descriptors came that belong to nothing", len(files))
	}
	return parcels, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// joining is what a standby says of itself.
type joining struct {
	Version    int       `json:"version"` // custodyVersion
	Generation uint64    `json:"generation"`
	Since      time.Time `json:"since"`
}

var errVersion = errors.New("it has another version of the custody link")

func parseJoining(record []arrived) (j joining, err error) {
	if len(record) != 1 || record[0].Kind != joinParcel || len(record[0].files) > 0 {
		for _, p := range record {
			closeAll(p.files)
		}
		return j, errors.New("custody link: it did not begin with a joining")
	}
	if err := json.Unmarshal(record[0].Body, &j); err != nil {
		return j, err
	}
	if j.Version != custodyVersion {
		return j, fmt.Errorf("%w (%d, ours is %d)", errVersion, j.Version, custodyVersion)
	}
	return j, nil
}
