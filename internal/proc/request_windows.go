package proc

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Relies on: WM_CLOSE to the top-level windows of a process being the request to
// end, as taskkill without /F sends it; on WM_QUERYENDSESSION and WM_ENDSESSION
// reaching every top-level window, visible or not, when the session ends; and on
// SM_SHUTTINGDOWN telling of that end. A process without a window cannot be asked.

const (
	wmClose           = 0x0010
	wmQueryEndSession = 0x0011
	wmEndSession      = 0x0016
	endSessionLogoff  = 0x80000000
	smShuttingDown    = 0x2000

	// firstToKnow is a shutdown level above the default one (0x280): who guards is
	// told of the end of the session before those that are guarded.
	firstToKnow = 0x2FF
	// sessionPatience is what the system grants at the end of a session, or nearly.
	sessionPatience = 4500 * time.Millisecond
)

var (
	user32          = windows.NewLazySystemDLL("user32.dll")
	postMessage     = user32.NewProc("PostMessageW")
	registerClass   = user32.NewProc("RegisterClassExW")
	createWindow    = user32.NewProc("CreateWindowExW")
	defWindowProc   = user32.NewProc("DefWindowProcW")
	getMessage      = user32.NewProc("GetMessageW")
	dispatchMessage = user32.NewProc("DispatchMessageW")
	systemMetrics   = user32.NewProc("GetSystemMetrics")
)

// requestEnd asks through every top-level window of the process.
func (h *Handle) requestEnd() error {
	asked := 0
	for _, window := range windowsOf(uint32(h.id.PID)) {
		if ok, _, _ := postMessage.Call(uintptr(window), wmClose, 0, 0); ok != 0 {
			asked++
		}
	}
	if asked == 0 {
		return fmt.Errorf("asking %v to end: it has no window: %w", h.id, ErrNotSupported)
	}
	return nil
}

// enumeration is what the callback of EnumWindows works on; it may be given no Go
// pointer.
var enumeration struct {
	sync.Mutex
	pid   uint32
	found []windows.HWND
}

var onWindow = sync.OnceValue(func() uintptr {
	return windows.NewCallback(func(window windows.HWND, _ uintptr) uintptr {
		var pid uint32
		if _, err := windows.GetWindowThreadProcessId(window, &pid); err == nil && pid == enumeration.pid {
			enumeration.found = append(enumeration.found, window)
		}
		return 1 // go on
	})
})

func windowsOf(pid uint32) []windows.HWND {
	enumeration.Lock()
	defer enumeration.Unlock()
	enumeration.pid, enumeration.found = pid, nil
	_ = windows.EnumWindows(onWindow(), nil)
	return enumeration.found
}

// endRequest is what the one hidden window of this process does.
var endRequest struct {
	sync.Mutex
	ask func(reason string)
}

// OnEndRequest calls ask when this process is asked to end in a way that is no
// signal: by taskkill, by Terminate, by the end of the session. At the end of the
// session the system waits, for a few seconds, until this process has ended. ask
// is called on a thread of its own and must not wait. It is meant for the main
// program, once; the process has a hidden window from then on. Elsewhere than on
// Windows it does nothing, since such requests are signals there.
func OnEndRequest(ask func(reason string)) error {
	endRequest.Lock()
	defer endRequest.Unlock()
	if endRequest.ask != nil {
		return fmt.Errorf("requests to end are listened for already")
	}
	// Failing costs the order in which processes are told, and nothing else.
	_ = windows.SetProcessShutdownParameters(firstToKnow, 0)
	made := make(chan error)
	go serveWindow(made)
	if err := <-made; err != nil {
		return fmt.Errorf("requests to end cannot be listened for: %w", err)
	}
	endRequest.ask = ask
	return nil
}

// windowClass is WNDCLASSEXW.
type windowClass struct {
	size, style                        uint32
	procedure                          uintptr
	classExtra, windowExtra            int32
	instance, icon, cursor, background uintptr
	menu, name                         *uint16
	smallIcon                          uintptr
}

// message is MSG.
type message struct {
	window         windows.HWND
	id             uint32
	wParam, lParam uintptr
	time           uint32
	x, y           int32
	_              uint32
}

// serveWindow makes the window and hands out its messages, for ever: they come to
// the thread that made it.
func serveWindow(made chan<- error) {
	runtime.LockOSThread()
	name, err := windows.UTF16PtrFromString("pairguard")
	if err != nil {
		made <- err
		return
	}
	class := windowClass{procedure: windows.NewCallback(onMessage), name: name}
	class.size = uint32(unsafe.Sizeof(class))
	if atom, _, err := registerClass.Call(uintptr(unsafe.Pointer(&class))); atom == 0 {
		made <- err
		return
	}
	window, _, err := createWindow.Call(0, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(name)),
		0, 0, 0, 0, 0, 0, 0, 0, 0)
	if window == 0 {
		made <- fmt.Errorf("no window: %w", err)
		return
	}
	close(made)
	var m message
	for {
		if got, _, _ := getMessage.Call(uintptr(unsafe.Pointer(&m)), 0, 0, 0); int32(got) <= 0 {
			return
		}
		_, _, _ = dispatchMessage.Call(uintptr(unsafe.Pointer(&m)))
	}
}

// onMessage is the window's procedure.
func onMessage(window windows.HWND, id uint32, wParam, lParam uintptr) uintptr {
	switch {
	case id == wmClose:
		askedToEnd("asked to end")
		return 0
	case id == wmQueryEndSession:
		return 1 // agreed; it may still be called off
	case id == wmEndSession && wParam != 0:
		reason := "shutdown"
		if lParam&endSessionLogoff != 0 {
			reason = "log-off"
		}
		sessionEnds.Store(true)
		askedToEnd(reason)
		// When this returns the system may end the process. It ends by itself before
		// that, unless something is wrong.
		time.Sleep(sessionPatience)
		return 0
	}
	result, _, _ := defWindowProc.Call(uintptr(window), uintptr(id), wParam, lParam)
	return result
}

// sessionEnds is set when the window has heard of it.
var sessionEnds atomic.Bool

// SessionEnds reports whether the session of this process is ending, by a log-off or
// a shutdown. It is for a process that has been asked to end: from the call on the
// system may send it messages instead of console events. Elsewhere than on Windows
// it is false.
func SessionEnds() bool {
	if sessionEnds.Load() {
		return true
	}
	if systemMetrics.Find() != nil {
		return false
	}
	ends, _, _ := systemMetrics.Call(smShuttingDown)
	return ends != 0
}

func askedToEnd(reason string) {
	endRequest.Lock()
	ask := endRequest.ask
	endRequest.Unlock()
	if ask != nil {
		go ask(reason)
	}
}
