// Command seedclaims measures the seven claims of the article that the idea comes
// from, each with a real pair, and prints a row for each with PASS or FAIL. An
// observer that is not the code under test watches who holds the names all the
// time.
//
// It exits with 1 when a claim does not hold. It takes about two minutes and
// needs strace.
package main
