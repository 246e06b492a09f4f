package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"
)

// session is the conversation with one client. Requests are answered in the order in
// which they are done.
type session struct {
	server *server
	conn   Conn
	cancel context.CancelFunc

	write sync.Mutex // keeps answers apart

	mu     sync.Mutex
	inWork int           // requests that are not answered
	idle   chan struct{} // closed while inWork is 0
	waits  int           // those of them that only wait
	calm   time.Time     // since when inWork == waits
	sent   bool          // somebody else needs its place
	closed bool
}

func newSession(s *server, c Conn, cancel context.CancelFunc) *session {
	idle := make(chan struct{})
	close(idle)
	return &session{server: s, conn: c, cancel: cancel, calm: time.Now(), idle: idle}
}

// serve reads requests until the client or ctx, which cancel ends, ends.
func (s *session) serve(ctx context.Context) {
	defer s.cancel()
	// A server that ends lets the answers out first; reading ends with the connection.
	stop := context.AfterFunc(ctx, func() {
		s.finish(s.server.limits.farewell)
		s.close()
	})
	defer stop()
	lines := newLineReader(s.conn, MaxLine)
	for {
		line, err := lines.next()
		if errors.Is(err, errTooLong) {
			s.answer(failure(nullID, Errorf(CodeParse, "the line has more than %d bytes: send less at once", MaxLine)))
		}
		if err != nil {
			break
		}
		s.handle(ctx, line)
	}
	// It says no more. Perhaps it still listens, as `nc -N` does.
	s.finish(s.server.limits.farewell)
	s.cancel()
	s.close()
	<-s.nothingInWork()
}

// finish waits until no request is in work, at most for d.
func (s *session) finish(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.nothingInWork():
	case <-t.C:
	}
}

func (s *session) nothingInWork() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.idle
}

func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		_ = s.conn.Close()
	}
}

// dispensableSince reports since when nobody would miss anything if the connection
// ended: its client only waits and can ask again, or has asked nothing for a while.
func (s *session) dispensableSince(now time.Time) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := s.inWork == 0 && now.Sub(s.calm) > s.server.limits.farewell
	waits := s.waits > 0 && s.inWork == s.waits
	return s.calm, (idle || waits) && !s.sent && !s.closed
}

// sendAway ends the session. Those who wait are told to ask again.
func (s *session) sendAway() {
	s.mu.Lock()
	s.sent = true
	s.mu.Unlock()
	s.cancel()
}

func (s *session) sentAway() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// begin counts a request in, and says whether there is room for it.
func (s *session) begin(wait bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inWork >= s.server.limits.atOnce {
		return false
	}
	if s.inWork == 0 {
		s.idle = make(chan struct{})
	}
	s.inWork++
	if wait {
		s.waits++
		s.calm = time.Now()
	}
	return true
}

func (s *session) end(wait bool) {
	s.mu.Lock()
	s.inWork--
	if s.inWork == 0 {
		close(s.idle)
	}
	if wait {
		s.waits--
	}
	s.calm = time.Now()
	calm := s.inWork == s.waits
	s.mu.Unlock()
	if calm {
		s.server.mayHaveRoom()
	}
}

// handle starts the work that a line asks for.
func (s *session) handle(ctx context.Context, line []byte) {
	r, refused := parseRequest(line)
	if refused != nil {
		s.answer(failure(r.answerID(), refused))
		return
	}
	wait := r.Method == methodWait
	if !s.begin(wait) {
		s.reply(r, nil, Errorf(CodeBusy, "%d requests of this connection are in work already: wait for an answer, or connect again", s.server.limits.atOnce))
		return
	}
	go func() {
		defer s.end(wait)
		result, err := dispatch(ctx, s.server.handler, r.Method, r.Params)
		s.reply(r, result, s.interrupted(ctx, err))
	}()
}

// interrupted is what a client is told whose request the end of ctx cut short: that it
// is to ask again. A supervisor's own answer stays.
func (s *session) interrupted(ctx context.Context, err error) error {
	var own *Error
	switch {
	case err == nil || ctx.Err() == nil || errors.As(err, &own):
		return err
	case s.sentAway():
		return Errorf(CodeBusy, "too many clients wait: ask again after a second")
	default:
		return Errorf(CodeEnding, "this supervisor is ending: ask again")
	}
}

// reply answers r, unless it is a notification.
func (s *session) reply(r request, result any, err error) {
	if r.ID == nil {
		return
	}
	if err == nil {
		body, bad := json.Marshal(result)
		if bad == nil {
			s.answer(response{JSONRPC: version, ID: r.ID, Result: body})
			return
		}
		err = Errorf(codeInternal, "the answer cannot be written: %v", bad)
	}
	s.answer(failure(r.ID, err))
}

// answer sends one line; a client that does not take it is given up.
func (s *session) answer(r response) {
	line, err := json.Marshal(r)
	if err != nil {
		s.close()
		return
	}
	s.write.Lock()
	defer s.write.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.server.limits.patience))
	if _, err := s.conn.Write(append(line, '\n')); err != nil {
		s.close()
	}
}

var errTooLong = errors.New("the line is too long")

// lineReader cuts a stream into lines. Its buffer is small until a long line comes.
type lineReader struct {
	r   *bufio.Reader
	max int
}

func newLineReader(r io.Reader, max int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 2048), max: max}
}

// next returns the next line that is not empty, without its LF; it is the caller's.
// What stands behind the last LF is no line.
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > l.max:
			return nil, errTooLong
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err
		case len(trimEnd(line)) == 0:
			line = line[:0]
		default:
			return trimEnd(line), nil
		}
	}
}

func trimEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}
