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
	work   sync.WaitGroup

	write sync.Mutex // keeps answers apart

	mu     sync.Mutex
	inWork int       // requests that are not answered
	waits  int       // those of them that only wait
	calm   time.Time // since when inWork == waits
	closed bool
}

func newSession(s *server, c Conn) *session {
	return &session{server: s, conn: c, calm: time.Now()}
}

// serve reads requests until the client or ctx ends.
func (s *session) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A server that ends lets the answers out first; reading ends with the connection.
	stop := context.AfterFunc(ctx, func() {
		s.finish(farewell)
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
	s.finish(farewell)
	cancel()
	s.close()
	s.work.Wait()
}

// finish waits until no request is in work, at most for d.
func (s *session) finish(d time.Duration) {
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
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
// ended: its client asks nothing, or only waits and can ask again.
func (s *session) dispensableSince() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calm, s.inWork == s.waits && !s.closed
}

// begin counts a request in, and says whether there is room for it.
func (s *session) begin(wait bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inWork >= maxAtOnce {
		return false
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
		s.reply(r, nil, Errorf(CodeBusy, "%d requests of this connection are in work already: wait for an answer, or connect again", maxAtOnce))
		return
	}
	s.work.Go(func() {
		defer s.end(wait)
		result, err := dispatch(ctx, s.server.handler, r.Method, r.Params)
		s.reply(r, result, err)
	})
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
	_ = s.conn.SetWriteDeadline(time.Now().Add(writePatience))
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
