package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

var jsonExample = regexp.MustCompile("(?s)```json (\\S+)\n(.*?)\n```")

// TestFolderExamples: the examples in docs/folder.md are what a member reads, and what one writes has no key that is not shown.
func TestFolderExamples(t *testing.T) {
	t.Setenv("TMPDIR", "")
	text, err := os.ReadFile("../docs/folder.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.MkdirTemp("/tmp", "pg")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	d, err := pairdir.Open(filepath.Join(root, "d"))
	if err != nil {
		t.Fatal(err)
	}
	examples := map[string]string{}
	for _, m := range jsonExample.FindAllStringSubmatch(string(text), -1) {
		examples[m[1]] = m[2]
		if strings.Contains(m[1], "proc") {
			os.WriteFile(filepath.Join(d.Path(), m[1]), []byte(m[2]), 0o600)
		}
	}
	a, _ := d.Name("procA")
	b, _ := d.Name("procB")
	life, found, err := d.ReadLife(a)
	same(t, examples["procA.life"], life, found, err)
	if leave, found, err := d.ReadLeave(a); found || err != nil {
		t.Errorf("a leave of another boot counts: %+v %v", leave, err)
	}
	stop, found, err := d.ReadStop(b, a)
	same(t, examples["stop.procA+procB"], stop, found, err)
	spawn, found, err := d.ReadSpawn(b)
	same(t, examples["procB.spawn"], spawn, found, err)
	if _, _, err := d.ReadHold(a); err != nil {
		t.Error(err)
	}
	var id proc.ID
	same(t, examples["process"], id, true, json.Unmarshal([]byte(examples["process"]), &id))
	if qt, err := d.Name("qt:procA"); err != nil || !strings.Contains(string(text), "its KEY is `"+qt.Key()+"`") {
		t.Errorf("the key of qt:procA is %s, %v", qt.Key(), err)
	}
}

// same: the example has the keys that the record is written with, and was read.
func same(t *testing.T, example string, record any, found bool, err error) {
	t.Helper()
	if !found || err != nil {
		t.Errorf("%v, %v: %s", found, err, example)
		return
	}
	var shown, written map[string]any
	json.Unmarshal([]byte(example), &shown)
	b, _ := json.Marshal(record)
	json.Unmarshal(b, &written)
	delete(shown, "version")
	for key := range written {
		if _, ok := shown[key]; !ok {
			t.Errorf("%s is written and not shown: %s", key, example)
		}
		delete(shown, key)
	}
	for key := range shown {
		t.Errorf("%s is shown and not written: %s", key, example)
	}
}
