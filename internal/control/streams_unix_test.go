//go:build unix

package control

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/pairguard/pairguard/internal/ipc"
)

// The real sockets: asked by a client, and gone on with by an heir of the listener.
func TestStreams(t *testing.T) {
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	a := ipc.Address(filepath.Join(dir, "s"))
	first, err := ipc.ListenStream(a)
	if err != nil {
		t.Fatal(err)
	}
	file, err := first.File()
	if err != nil {
		t.Fatal(err)
	}
	client := &Client{Connect: Connector(a)}
	ask := func(l *ipc.StreamListener, want bool) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		text := jsonText(`{"guarded":false}`)
		if want {
			text = jsonText(`{"guarded":true}`)
		}
		go func() {
			defer close(done)
			Serve(ctx, Streams(l), &fakeSupervisor{answers: map[string]jsonText{"status": text}})
		}()
		got, err := client.Status(t.Context(), NamesParams{})
		if err != nil || got.Guarded != want {
			t.Errorf("%+v, %v", got, err)
		}
		cancel()
		<-done
	}
	ask(first, false)
	second, err := ipc.AdoptStream(file, a)
	if err != nil {
		t.Fatal(err)
	}
	ask(second, true)
}
