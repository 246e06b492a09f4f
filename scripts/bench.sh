#!/bin/sh
# make bench: the figures that are promised, each with its goal, on a machine that should be quiet. About six minutes.
# ROUNDS (200) says how many crashes are measured.
#
# Exit 1 if a goal was missed. What takes longer, or needs root, has a target of its own: docs/benchmarks.md.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0 table=

# measure NAME GOAL COMMAND...: the command prints its figures, and fails when the goal was missed.
measure() {
	name=$1 goal=$2
	shift 2
	printf '== %s\n' "$name"
	if "$@"; then verdict=pass; else verdict=FAIL status=1; fi
	table="$table$(printf '%-5s %-55s %s' "$verdict" "$name" "$goal")
"
}

read -r load _ 2>/dev/null </proc/loadavg || load=unknown
printf 'load average before: %s\n' "$load"
measure "a crash: kill -9 to the successor's first instruction" "median <= 1.5 x bareloop's" go run ./bench/crash -rounds "${ROUNDS:-200}"
measure "an idle pair: both together" "<= 8 MB PSS, <= 24 voluntary switches/s" go run ./bench/idle -for 30s
measure "a takeover: kill -9 of the active supervisor" "serves: median <= 5 ms; guarded: <= 4 x a Go start + 10 ms" go run ./bench/takeover
measure "1,000 programs under one pair" "<= 8 kB each, <= 32 threads; all back <= 1.5 x bareloop's" go run ./bench/thousand
measure "a hang, and what must not be (pairguard drill)" "every one back within 3 s; none doubled or wronged, no line lost" go run ./cmd/pairguard drill --rounds 20
measure "100,000 simulated fault schedules" "0 broken promises" env RUNS=100000 SEED="${SEED:-0}" BREAK= scripts/sim.sh
printf '\n%s' "$table"
exit $status
