#!/bin/sh
# scripts/exhaustive.sh: every order of everything, with DEEDS deeds put in at every
# point; it gives up after STATES states (0: never) and says so.
set -eu
cd "$(dirname "$0")/.."
binary=$(mktemp "${TMPDIR:-/tmp}/sim.XXXXXX")
trap 'rm -f "$binary"' EXIT
go test -c -o "$binary" ./internal/sim
"$binary" -test.run '^TestExhaustive$' -test.timeout 0 -deeds "${DEEDS:-2}" -states "${STATES:-0}" -break "${BREAK:-}"
