#!/bin/sh
# scripts/sim.sh: many simulated fault schedules. SEED: the first one (0: drawn at
# random), RUNS: how many, BREAK: a broken variant (list: show them).
set -eu
cd "$(dirname "$0")/.."
binary=$(mktemp "${TMPDIR:-/tmp}/sim.XXXXXX")
trap 'rm -f "$binary"' EXIT
go test -c -o "$binary" ./internal/sim
"$binary" -test.run '^TestSim$' -test.timeout 0 -seed "${SEED:-0}" -runs "${RUNS:-0}" -break "${BREAK:-}"
