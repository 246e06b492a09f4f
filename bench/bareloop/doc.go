// Command bareloop is the smallest supervisor that Go can be: it starts a program,
// waits for its death with a pidfd, and starts it again at once. It keeps no
// promise at all: no lock, no record, no backoff, nobody who guards it. It is
// what the speed of a revival is compared with.
package main
