package control

import (
	"errors"
	"fmt"
)

// Codes of errors. The negative ones are those of JSON-RPC 2.0.
const (
	CodeParse    = -32700 // the line is no JSON
	CodeRequest  = -32600 // it is no request
	CodeMethod   = -32601 // there is no such method
	CodeParams   = -32602 // the parameters are not right
	CodeFailed   = 1      // it could not be done
	CodeEnding   = 2      // the supervisors are ending: ask again, the next ones will answer
	CodeBusy     = 3      // too many at once: ask again after a second
	CodeUnknown  = 4      // there is no program of that name
	CodeTaken    = 100    // the name is that of a live program
	codeInternal = -32603 // the handler panicked
)

// Error is what a supervisor refuses a request with. Its text is one line that names
// the culprit and what to do next.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an *Error.
func Errorf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// IsCode reports whether a supervisor refused the request with that code.
func IsCode(err error, code int) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}
