// Package tidy keeps the rules of the house as tests: what the pure packages may import, how long a function may be, where
// platform files may live, that links lead somewhere and that the tests which the documents name exist. It has no other code.
// CONTRIBUTING.md says why each rule is there.
package tidy
