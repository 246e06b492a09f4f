// Package realtest has tests alone: programs that nobody here wrote, as Debian
// packages them, under supervisors that are killed. Linux only.
package realtest
