// Package control is the conversation with the supervisors of a folder: lines of
// JSON-RPC 2.0 over a local socket, as docs/control.md specifies them.
//
// What holds: every request may be repeated, so that a client whose supervisor died
// in the middle of one asks the next one again and does no harm; and whatever comes
// in, no line is answered twice, nothing is changed by bad input, and no client keeps
// another one from being served.
//
// [Serve] needs a [Handler], which the supervisor is; [Client] is what the command
// uses. Neither knows sockets: both are handed connections.
package control
