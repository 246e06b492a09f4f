// Command idle measures what a pair costs while nothing happens: memory (PSS, from
// smaps_rollup) and voluntary context switches, summed over all threads of both
// processes. Beside it stand two processes of bareloop, the smallest supervisor
// that there can be, for comparison.
//
// It exits with 1 when a figure is above its goal.
package main
