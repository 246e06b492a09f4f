#!/bin/sh
# make check: what can be said of the code without running it. The first line that fails does not hide the others.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0

say() { printf '%s\n' "$*"; }
step() {
	say "== $1"
	shift
	"$@" || { say "FAIL: $*" >&2; status=1; }
}

formatted() {
	files=$(gofmt -l .) || return 1
	[ -z "$files" ] && return 0
	say "not formatted, run gofmt -w on:" "$files"
	return 1
}

# for_system SYSTEM ARCHITECTURE VERB...: without cgo, as releases are built.
for_system() {
	GOOS=$1 GOARCH=$2
	shift 2
	CGO_ENABLED=0 GOOS=$GOOS GOARCH=$GOARCH go "$@" ./...
}

step "gofmt" formatted
for target in linux/amd64 linux/arm64 linux/386 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64 freebsd/amd64; do
	step "build $target" for_system "${target%/*}" "${target#*/}" build
	step "vet $target" for_system "${target%/*}" "${target#*/}" vet
done
# The tool runs here, whatever system it is to look at.
if staticcheck=$(go tool -n staticcheck); then
	for system in linux windows darwin freebsd; do
		step "staticcheck $system" env CGO_ENABLED=0 GOOS=$system "$staticcheck" ./...
	done
else
	step "staticcheck" false
fi
exit $status
