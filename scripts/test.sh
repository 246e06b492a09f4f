#!/bin/sh
# make test: everything that has to hold. Needs Go, git and make; installs the rest where it may (Debian, as root), and otherwise says
# what is left out. With CI=true nothing may be left out. With WINDOWS=1, and with CI=true, the tests of the Windows side run too, under
# wine (scripts/test-windows.sh): about five minutes.
set -u
cd "$(dirname "$0")/.." || exit 1

# What the tests use beyond Go, git and make: command, Debian package, and what is left out without it.
tools='gcc gcc the race detector (all tests run without it)
strace strace the tests that watch system calls: no network socket, no process list
cmake cmake the pairs with Qt programs
g++ g++ the pairs with Qt programs
pidof sysvinit-utils the walk through docs/qt.md
python3 python3 the pairs with a Python member
Xvfb xvfb the window of the Qt example on an X server
nginx nginx-light nginx under supervisors that are killed
redis-server redis-server Redis under supervisors that are killed
psql postgresql PostgreSQL under supervisors that are killed
chromium chromium the look of a browser at the page of the drill'
# Packages without a command of their own: gcc's headers, the certificates to fetch modules with, both versions of Qt, and letters for the browser.
packages='libc6-dev ca-certificates qt6-base-dev qtbase5-dev fonts-dejavu-core'

ci() { [ "${CI:-}" = true ]; }
say() { printf '%s\n' "$*"; }

# The folder and the switches of a person who runs this have no business in the tests.
unset PAIRGUARD_DIR PAIRGUARD_TEST_WITHOUT

# While packages are installed, no service of theirs is started: the tests start the programs themselves. A policy that the machine has
# already stays as it is.
policy=/usr/sbin/policy-rc.d
hold_services() {
	held=
	[ -e $policy ] && return 0
	trap 'release_services; exit 130' INT TERM
	printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && held=yes
}
release_services() { [ -z "$held" ] || rm -f $policy; }

install_missing() {
	missing=
	command -v apt-get >/dev/null && command -v dpkg-query >/dev/null && [ "$(id -u)" = 0 ] || return 0
	for package in $packages $(say "$tools" | awk '{ print $2 }'); do
		state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)
		[ "$state" = installed ] || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	say "== installing$missing"
	hold_services
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
	installed=$?
	release_services
	[ $installed = 0 ] && return 0
	say "test: apt-get could not install$missing; install them by hand" >&2
}

# report_missing says what is left out; on CI that is a failure.
report_missing() {
	missing=$(say "$tools" | while read -r command package rest; do
		command -v "$command" >/dev/null || say "   $command (Debian package $package) is not there; left out: $rest"
	done)
	[ -n "$missing" ] || return 0
	say "== missing tools"
	say "$missing"
	! ci
}

failed=
fail() { say "FAIL: $*" >&2; failed="$failed; $*"; }

install_missing
report_missing || fail "tools are missing on CI"

# Everything that this run makes lies below one folder and carries one mark, so that what is left of it can be found. The path is
# short because the path of a Unix socket may have 107 bytes only.
PAIRGUARD_TEST_RUN=$$-$(date +%s)
run=$(mktemp -d "${TMPDIR:-/tmp}/pgXXXXXX") || exit 1
export PAIRGUARD_TEST_RUN
trap 'rm -rf "$run"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
before=$(scripts/leftovers.sh folders)

scripts/check.sh || fail "check"

race=
if command -v "$(go env CC)" >/dev/null && [ "$(CGO_ENABLED=1 go env CGO_ENABLED)" = 1 ]; then
	race=-race
	export CGO_ENABLED=1
fi
say "== tests $race"
mkdir "$run/t" "$run/bin"
# As /tmp is: tests that play another user have to get in.
chmod 755 "$run" && chmod 1777 "$run/t" || exit 1
go build -o "$run/bin/testreport" ./scripts/testreport || exit 1
# One package at a time: many tests measure times, and the machine may have two cores. -count 1: what a cache remembers of another
# machine state is no test.
TMPDIR=$run/t GOTMPDIR=$run/t "$run/bin/testreport" $race -p 1 -count 1 -timeout 20m ./... || fail "tests"

say "== what is left"
scripts/leftovers.sh check "$run/t" "$before" || fail "something is left behind"

if ci || [ "${WINDOWS:-}" = 1 ]; then
	scripts/test-windows.sh || fail "tests of the Windows side"
else
	say "== tests of the Windows side: left out; WINDOWS=1 make test, or make test-windows, runs them"
fi

if [ -n "$failed" ]; then
	say "FAIL:${failed#;}"
	exit 1
fi
say "PASS"
