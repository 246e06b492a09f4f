package output

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// BenchmarkLines50k is a program that writes 50,000 lines a second for three seconds: what the pump costs meanwhile, in CPU time a second.
func BenchmarkLines50k(b *testing.B) {
	for range b.N {
		r := newRig(b, kernel{}, LogSpec{Size: 1 << 20, Keep: 100}, Hooks{})
		program := exec.Command("/proc/self/exe")
		program.Env = append(os.Environ(), roleVariable+"=write 50000 150000")
		program.Stdout, program.Stderr = r.writer, os.Stderr
		before, begin := cpu(), time.Now()
		must(b, program.Start())
		must(b, program.Wait())
		r.drained()
		seconds := time.Since(begin).Seconds()
		used := cpu() - before
		b.ReportMetric(used.Seconds()/seconds*100, "%cpu")
		own := program.ProcessState.UserTime() + program.ProcessState.SystemTime()
		b.ReportMetric(float64(used)/float64(own), "of-program's-cpu")
		b.ReportMetric(150_000/seconds, "lines/s")
		if r.stream.Dropped() != 0 {
			b.Fatal("dropped")
		}
		r.stream.Close()
	}
}

// cpu is the CPU time that this process, without its children, has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkThroughput compares the pump with a program that writes to the file itself.
func BenchmarkThroughput(b *testing.B) {
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = "0123456789abcde\n"[i%16]
	}
	b.Run("pump", func(b *testing.B) {
		r := newRig(b, kernel{}, LogSpec{Size: 64 << 20, Keep: 1}, Hooks{})
		b.SetBytes(int64(len(block)))
		for b.Loop() {
			must1(r.writer.Write(block))(b)
		}
		r.drained()
	})
	b.Run("file", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "log")
		f := must1(os.Create(path))(b)
		defer f.Close()
		b.SetBytes(int64(len(block)))
		for n := 0; b.Loop(); n++ {
			if n%64 == 63 {
				f.Close()
				f = must1(os.Create(path))(b)
			}
			must1(f.Write(block))(b)
		}
	})
}

// BenchmarkMemory is what a stream costs in this process, descriptors and the kernel's part aside.
func BenchmarkMemory(b *testing.B) {
	const n = 1000
	dir := b.TempDir()
	for range b.N {
		p := must1(NewPump())(b)
		pipes, logs := make([]*os.File, n), make([]*os.File, n)
		before := heap()
		threads := goroutines()
		var writers []*os.File
		for k := range n {
			path := filepath.Join(dir, fmt.Sprint(k))
			must(b, MakePipe(path+".fifo"))
			pipes[k] = must1(OpenReader(path + ".fifo"))(b)
			logs[k] = must1(OpenLog(LogSpec{Path: path + ".log"}))(b)
			must1(p.Add(pipes[k], logs[k], LogSpec{Path: path + ".log"}, Hooks{Note: func(string) {}}))(b)
		}
		b.ReportMetric(float64(heap()-before)/n, "B/stream")
		b.ReportMetric(float64(goroutines()-threads), "goroutines")
		for k := range 50 {
			w := must1(OpenWriter(filepath.Join(dir, fmt.Sprint(k)) + ".fifo"))(b)
			must1(w.WriteString(lines(0, 10)))(b)
			writers = append(writers, w)
		}
		p.Close()
		for _, w := range writers {
			w.Close()
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func goroutines() int { return runtime.NumGoroutine() }
