#!/bin/sh
# make fuzz: every fuzz target of the module, one after the other, for the time given (30s).
set -u
cd "$(dirname "$0")/.." || exit 1
time=${1:-30s}
status=0
for package in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz'); do
		echo "== $package $target"
		go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$time" || status=1
	done
done
exit $status
