package interop

import (
	"bufio"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pairguard/pairguard"
)

// TestExampleWindow: the example of clients/qt. Its window shows that the peer is up, and the peer comes back; on an X server of
// our own, as on somebody's desktop, and without a screen.
func TestExampleWindow(t *testing.T) {
	t.Parallel()
	t.Run("offscreen", func(t *testing.T) {
		t.Parallel()
		playWindow(t, "QT_QPA_PLATFORM=offscreen")
	})
	t.Run("xcb", func(t *testing.T) {
		t.Parallel()
		need(t, "Xvfb")
		if plugin, _ := filepath.Glob("/usr/lib*/*/qt6/plugins/platforms/libqxcb.so"); len(plugin) == 0 {
			t.Skip("missing tool: Qt's plugin for X (Debian: qt6-qpa-plugins)")
		}
		playWindow(t, "QT_QPA_PLATFORM=xcb", "DISPLAY="+xServer(t))
	})
}

func playWindow(t *testing.T, environment ...string) {
	afterBuilds(t)
	twins := twinsBuild.program(t, "twins")
	s := newScene(t)
	s.env = append(s.env, environment...)
	picture := filepath.Join(s.root, "window.png")
	s.play("A", twins, "A", "B", "--picture", picture)
	s.start("A")
	s.told("A", pairguard.PeerUp)
	s.eventually("the window's picture shows green where the peer's state stands", patience, func() bool { return shows(picture, 0x2e, 0x7d, 0x32) })

	// The peer was started by the window itself, so it bears the same mark.
	s.act()
	peer := s.status("B").PID
	for _, p := range processes(s.root) {
		if p.id.PID == peer {
			s.signal(p.id, syscall.SIGKILL)
		}
	}
	s.told("A", pairguard.PeerDead)
	s.told("A", pairguard.PeerUp)
	s.told("B", pairguard.PeerUp)
	s.stopped()
}

// xServer starts an X server without a screen and without a network port, and returns its display.
func xServer(t *testing.T) string {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	server := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "800x600x24", "-nolisten", "tcp")
	server.ExtraFiles = []*os.File{write}
	err = server.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGTERM) // it removes its lock and its socket
		server.Wait()
	})
	line, err := bufio.NewReader(read).ReadString('\n') // written when it serves; the end, when it cannot
	if err != nil {
		t.Fatalf("Xvfb does not start: %v", err)
	}
	return ":" + strings.TrimSpace(line)
}

// shows reports whether much of the picture has that colour.
func shows(file string, red, green, blue uint32) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		return false
	}
	n, b := 0, img.Bounds()
	for x := b.Min.X; x < b.Max.X; x++ {
		for y := b.Min.Y; y < b.Max.Y; y++ {
			if r, g, bl, _ := img.At(x, y).RGBA(); r>>8 == red && g>>8 == green && bl>>8 == blue {
				n++
			}
		}
	}
	return n > b.Dx()*b.Dy()/20
}
