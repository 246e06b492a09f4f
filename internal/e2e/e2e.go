// Package e2e tests pairguard with real processes: it starts pairs of the real
// command, kills, stops and robs them, and looks from outside at what becomes of
// them. There is nothing in it but tests.
package e2e
