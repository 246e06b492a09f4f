package pairdir

import (
	"fmt"
	"io"
	"os"
)

// Dump keeps what a peer says at its end. It is not safe for concurrent use.
type Dump struct {
	output *os.File // KEY.log; nil: there is none
	from   int64    // where what it says begins
	path   string   // KEY.dump
}

// BeginDump notes how far the output of the peer, KEY.log, goes by now.
func (d *Dir) BeginDump(n Name) (*Dump, error) {
	dump := &Dump{path: d.file(n, ".dump")}
	f, err := os.Open(d.file(n, ".log"))
	if os.IsNotExist(err) {
		return dump, nil // it has never been started by its peer
	}
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", d.file(n, ".log"), err)
	}
	if dump.from, err = f.Seek(0, io.SeekEnd); err != nil {
		f.Close()
		return nil, fmt.Errorf("output %s: %w", f.Name(), err)
	}
	dump.output = f
	return dump, nil
}

// Keep writes what was said since BeginDump, at most 10 MiB of it, to KEY.dump in
// place of an earlier one, below head. size counts what was said; when it is 0
// nothing is written.
func (p *Dump) Keep(head string) (path string, size int64, err error) {
	if p.output == nil {
		return p.path, 0, nil
	}
	end, err := p.output.Seek(0, io.SeekEnd)
	if size = min(end-p.from, maxOutput); err != nil || size <= 0 {
		return p.path, 0, err
	}
	f, err := os.OpenFile(p.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return p.path, 0, fmt.Errorf("dump %s: %w; remove it", p.path, err)
	}
	defer f.Close()
	keepRights(f)
	said := io.NewSectionReader(p.output, p.from, size)
	if _, err = io.WriteString(f, head); err == nil {
		_, err = io.Copy(f, said)
	}
	if err != nil {
		return p.path, 0, fmt.Errorf("dump %s: %w", p.path, err)
	}
	return p.path, size, nil
}

// Close gives the output back.
func (p *Dump) Close() {
	if p.output != nil {
		p.output.Close()
	}
}
