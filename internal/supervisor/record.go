package supervisor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/pairguard/pairguard/internal/custody"
)

// What is in custody: a copy of everything that the active supervisor holds. Each
// item has a key; those of programs end with the program's name.
const (
	listenersKey   = "listeners"   // 2 descriptors: of the control socket, of the custody socket
	birthsKey      = "births"      // 1: the read end of the birth pipe
	environItem    = "environ/"    // 0: variables that programs have inherited; it ends with their sum
	definitionItem = "definition/" // 0: a definitionRecord
	runItem        = "run/"        // 0: a runRecord
	processItem    = "process/"    // 1: the handle of the process that the body, a processRecord, names
	outputItem     = "output/"     // 2: the read end of the output pipe, the log
)

// processRecord says whose handle is in custody.
type processRecord struct {
	Generation uint64 `json:"generation"`
}

// parcel is one record on the custody link: its head as a line of JSON, then Body as it
// is. The active one sends items and the end of the snapshot; the standby one
// acknowledges.
type parcel struct {
	Kind string `json:"kind"` // item, end or ack
	Seq  uint64 `json:"seq"`
	Key  string `json:"key,omitempty"`
	Gone bool   `json:"gone,omitempty"`
	// Files is how many descriptors come along: one that got lost on the way is noticed.
	Files int    `json:"files,omitempty"`
	Body  []byte `json:"-"`
}

func (p parcel) encode() []byte { return append(append(encode(p), '\n'), p.Body...) }

const (
	itemParcel = "item"
	endParcel  = "end"
	ackParcel  = "ack"
	joinParcel = "join" // first, from the standby: a joining
)

func (p parcel) item() custody.Item {
	return custody.Item{Key: p.Key, Body: p.Body, Files: p.Files, Gone: p.Gone}
}

func itemOf(seq uint64, i custody.Item) parcel {
	return parcel{Kind: itemParcel, Seq: seq, Key: i.Key, Gone: i.Gone, Body: i.Body, Files: i.Files}
}

// parseParcel checks what came over the link; files are closed when it is refused.
func parseParcel(b []byte, files []*os.File) (parcel, error) {
	var p parcel
	head, body, _ := bytes.Cut(b, []byte{'\n'})
	err := json.Unmarshal(head, &p)
	p.Body = bytes.Clone(body)
	if err == nil && p.Files != len(files) {
		err = fmt.Errorf("%d descriptors came instead of %d: are descriptors used up?", len(files), p.Files)
	}
	if err != nil {
		closeAll(files)
		return parcel{}, fmt.Errorf("custody link: %w", err)
	}
	return p, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
