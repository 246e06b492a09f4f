// Command bareloop is the smallest supervisor that Go can be: it starts a program, or
// several copies of it, waits for their deaths with pidfds, and starts each again at
// once. It keeps no promise at all: no lock, no record, no backoff, nobody who guards
// it. It is what the speed of a revival is compared with.
package main
