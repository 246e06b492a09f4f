// Package file reads pairguard.yaml (docs/programs.md): what runs in it is exactly
// what stands there, or an error says in which line what would be right. Nothing is
// guessed: an unknown key, a wrong unit or a missing executable is an error, and then
// nothing of the file counts.
package file
