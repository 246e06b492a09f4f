package pairdir

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pairguard/pairguard/internal/ipc"
)

// maxName is the longest name, in bytes; room is left for file name suffixes.
const maxName = 64

// qtPrefix marks the name of a QLocalServer.
const qtPrefix = "qt:"

// Name is one member of a pair, parsed: where it listens and how its files are
// called. Comparable: two Names of one folder that share a key are one member.
// The zero Name is not valid; get one from [Dir.Name].
type Name struct {
	text  string
	key   string
	addr  ipc.Address
	plain bool
}

// String returns the name as it was given.
func (n Name) String() string { return n.text }

// Address returns where the name listens.
func (n Name) Address() ipc.Address { return n.addr }

// PlainPermitted reports whether a plain peer may speak under this name: only
// one given as qt:NAME.
func (n Name) PlainPermitted() bool { return n.plain }

// Key returns a text that is safe in file names and differs for different
// addresses. It is the name itself for an ordinary name.
func (n Name) Key() string { return n.key }

// place is the address of a name whose address depends on the environment, else "".
func (n Name) place() string {
	if !n.plain {
		return ""
	}
	return string(n.addr)
}

// at is n at the address that a record gives for it. One that cannot be an address
// changes nothing, nor does any for a name that has one of its own.
func (d *Dir) at(n Name, address string) Name {
	if !n.plain || !isAddress(address) || len(address) > maxAddress {
		return n
	}
	addr, err := plainAddress(address)
	if err != nil {
		return n
	}
	n.addr, n.key = addr, d.addressKey(addr)
	return n
}

// Name parses s: an ordinary name (letters, digits, '.', '_', '-', at most 64
// characters, not "." or ".."), or an address as it is (begins with "/", or with
// \\.\pipe\ on Windows), or qt:NAME, the place where QLocalServer puts NAME.
// The address must fit into a socket address of the operating system.
func (d *Dir) Name(s string) (Name, error) {
	n := Name{text: s}
	var err error
	switch {
	case strings.HasPrefix(s, qtPrefix):
		n.plain = true
		n.addr, err = qtAddress(s)
	case isAddress(s):
		n.addr, err = plainAddress(s)
	default:
		if err := checkOrdinary(s); err != nil {
			return Name{}, err
		}
		n.key = fileKey(s)
		n.addr, err = d.ordinaryAddress(n.key)
	}
	if err != nil {
		return Name{}, err
	}
	if n.key == "" {
		n.key = d.addressKey(n.addr)
	}
	if len(n.addr) > maxAddress {
		return Name{}, fmt.Errorf("name %q: its address %s has %d bytes, %s allows %d; choose a shorter folder or name",
			s, n.addr, len(n.addr), runtime.GOOS, maxAddress)
	}
	return n, nil
}

func checkOrdinary(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("name is empty; use letters, digits, '.', '_', '-'")
	case s == "." || s == "..":
		return fmt.Errorf("name %q: means a folder; choose another", s)
	case len(s) > maxName:
		return fmt.Errorf("name %.16q...: has %d bytes, at most %d are allowed", s, len(s), maxName)
	}
	for _, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && !strings.ContainsRune("._-", r) {
			return fmt.Errorf("name %q: character %q is not allowed; use letters, digits, '.', '_', '-'", s, r)
		}
	}
	return nil
}

// checkFree accepts what other programs call their sockets: any printable text.
func checkFree(s, rest string) error {
	if rest == "" {
		return fmt.Errorf("name %q: nothing follows the prefix", s)
	}
	if !utf8.ValidString(rest) {
		return fmt.Errorf("name %q: is not valid UTF-8", s)
	}
	for _, r := range rest {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("name %q: character %q is not allowed in an address", s, r)
		}
	}
	return nil
}

// addressKey names the files of an address. qt:x and the path that it stands for
// are one address and so have one key; so has the address of an ordinary name in
// this folder. '@' occurs in no ordinary name. The readable part is for people;
// the hash tells addresses apart.
func (d *Dir) addressKey(a ipc.Address) string {
	if key, ok := d.ordinaryKey(a); ok {
		return key
	}
	sum := sha256.Sum256([]byte(foldKey(string(a))))
	base := strings.Map(func(r rune) rune {
		if checkOrdinary("x"+string(r)) != nil {
			return '_'
		}
		return r
	}, lastElement(string(a)))
	if len(base) > 32 {
		base = base[:32]
	}
	return foldKey(base) + "@" + hex.EncodeToString(sum[:10])
}

// lastElement cuts at both kinds of separators: Windows knows both.
func lastElement(a string) string { return a[strings.LastIndexAny(a, `/\`)+1:] }

// foldsCase: Windows and macOS treat files whose names differ in case alone as
// one; such names are one name there, or a process could open one lock file twice.
const foldsCase = runtime.GOOS == "windows" || runtime.GOOS == "darwin"

func foldKey(s string) string {
	if foldsCase {
		return strings.ToLower(s)
	}
	return s
}

// fileKey is the key of an ordinary name. On Windows CON, NUL, COM1 and the like
// are devices whatever suffix follows; '@' makes files of them.
func fileKey(s string) string {
	key := foldKey(s)
	base, _, _ := strings.Cut(key, ".")
	if runtime.GOOS != "windows" {
		return key
	}
	switch strings.TrimRight(base, "123456789") {
	case "con", "prn", "aux", "nul", "com", "lpt":
		return "@" + key
	}
	return key
}
