package interop

import (
	"image/png"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pairguard/pairguard"
)

// TestExampleWindow: the example of clients/qt, without a screen: its window shows that the peer is up, and the peer comes back.
func TestExampleWindow(t *testing.T) {
	t.Parallel()
	twins := twinsBuild.program(t, "twins")
	s := newScene(t)
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
