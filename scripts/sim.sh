#!/bin/sh
# scripts/sim.sh: many simulated fault schedules, of pairs and of supervisors. SEED: the first one (0: drawn at random), RUNS: how
# many of each, BREAK: a broken variant (list: show them).
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d "${TMPDIR:-/tmp}/sim.XXXXXX")
trap 'rm -rf "$folder"' EXIT
found=
for package in ./internal/sim ./internal/sim/supervisors; do
	binary=$folder/$(basename "$package")
	go test -c -o "$binary" "$package"
	case ${BREAK:-} in
	'' | list) ;;
	*) # a variant belongs to one of the two
		"$binary" -test.run '^TestSim$' -break list | grep -q "^$BREAK " || continue
		;;
	esac
	found=yes
	"$binary" -test.run '^TestSim$' -test.timeout 0 -seed "${SEED:-0}" -runs "${RUNS:-0}" -break "${BREAK:-}"
done
[ -n "$found" ] || {
	echo "sim: there is no broken variant $BREAK: make sim BREAK=list lists them" >&2
	exit 1
}
