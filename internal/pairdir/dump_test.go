package pairdir

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestDumpKeepsWhatIsSaidAtTheEnd(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := d.Name("procB")
	if err != nil {
		t.Fatal(err)
	}
	keep := func(say string) (string, int64) {
		t.Helper()
		dump, err := d.BeginDump(n)
		if err != nil {
			t.Fatal(err)
		}
		defer dump.Close()
		if say != "" {
			out, err := d.OpenOutput(n)
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			if _, err := out.WriteString(say); err != nil {
				t.Fatal(err)
			}
		}
		path, size, err := dump.Keep("head\n")
		if err != nil {
			t.Fatal(err)
		}
		return path, size
	}
	if path, size := keep(""); size != 0 || exists(path) {
		t.Errorf("there is no output, but %d bytes were kept in %s", size, path)
	}
	out, err := d.OpenOutput(n)
	if err != nil {
		t.Fatal(err)
	}
	out.WriteString("long before\n")
	out.Close()
	if path, size := keep(""); size != 0 || exists(path) {
		t.Errorf("nothing was said, but %d bytes were kept", size)
	}
	for _, say := range []string{"goroutine 1 [running]:\n", "short\n"} {
		path, size := keep(say)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != "head\n"+say || size != int64(len(say)) {
			t.Errorf("kept %d bytes, %q, %v; want %q below the head", size, got, err, say)
		}
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("the dump is for everybody: %v, %v", info.Mode(), err)
		}
	}
}
