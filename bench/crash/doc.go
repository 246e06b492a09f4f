// Command crash measures how long after kill -9 the first instruction of the
// successor runs: under bareloop, the smallest supervisor that there can be, and
// under "pairguard guard" with --backoff 0. The kills of both are interleaved in
// one run, so that the ratio does not depend on the machine or on its load.
//
// It exits with 1 when the ratio of the medians is above the goal.
package main
