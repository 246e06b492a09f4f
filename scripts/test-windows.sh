#!/bin/bash
# make test-windows: what can be said of the Windows side on a Linux machine. The Windows programs are built here and run under wine 10,
# which is fetched from Debian's packages into a folder of its own and not installed. docs/platforms.md lists what a green run is no
# evidence of. Needs Debian or a system like it on amd64, and root where patchelf has to be installed.
#
#   scripts/test-windows.sh              everything, once
#   ROUNDS=5 scripts/test-windows.sh     everything, five times
#   scripts/test-windows.sh -short ./internal/e2e -run Leave     arguments of go test
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

suite=${PAIRGUARD_WINE_SUITE:-trixie} # Debian 13 has wine 10; older ones hang on the tests' pipes
home=${PAIRGUARD_WINE:-${XDG_CACHE_HOME:-$HOME/.cache}/pairguard-wine-$suite}
libraries=$home/root/usr/lib/x86_64-linux-gnu
programs=$home/root/usr/lib/wine

say() { printf '%s\n' "$*"; }
die() { printf 'test-windows: %s\n' "$*" >&2; exit 1; }

# The folder and the switches of a person who runs this have no business in the tests.
unset PAIRGUARD_DIR PAIRGUARD_TEST_WITHOUT DISPLAY WAYLAND_DISPLAY WINEPREFIX
export WINEPREFIX=$home/prefix WINEDEBUG=-all WINEDLLOVERRIDES='mscoree=;mshtml='
export WINESERVER=$programs/wineserver64 WINELOADER=$programs/wine64

wine() { timeout -k 5 "$1" "$programs/wine64" "${@:2}" </dev/null 9>&-; }
stop_wine() { timeout -k 5 20 "$WINESERVER" -k >/dev/null 2>&1; }

# fetch unpacks the packages and lets the two ELF programs find their own C library.
fetch() {
	[ "$(uname -m)" = x86_64 ] || die "wine can be fetched on amd64 only; run the tests on Windows: go test ./..."
	command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
		die "wine is fetched with apt-get, which is not here; run this on Debian, or the tests on Windows: go test ./..."
	local mirror key=/usr/share/keyrings/debian-archive-keyring.gpg
	mirror=${PAIRGUARD_WINE_MIRROR:-$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
		grep -E '^(URIs:|deb )' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' ')}
	[ -n "$mirror" ] || mirror=http://deb.debian.org/debian
	[ -s $key ] || die "$key is missing: install debian-archive-keyring"
	if ! command -v patchelf >/dev/null; then
		[ "$(id -u)" = 0 ] || die "patchelf is missing: install it, or run this as root"
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends patchelf; } >/dev/null ||
			die "patchelf cannot be installed with apt-get: install it by hand"
	fi
	say "== fetching wine from $mirror $suite into $home"
	rm -rf "$home"
	mkdir -p "$home"/apt/{lists,cache/archives}/partial "$home"/{packages,root} || die "$home cannot be made"
	: >"$home/apt/status"
	say "deb [signed-by=$key] $mirror $suite main" >"$home/apt/sources.list"
	cat >"$home/apt/conf" <<-END
		Dir::State::lists "$home/apt/lists";
		Dir::State::status "$home/apt/status";
		Dir::Cache "$home/apt/cache";
		Dir::Etc::sourcelist "$home/apt/sources.list";
		Dir::Etc::sourceparts "-";
		APT::Sandbox::User "root";
	END
	APT_CONFIG=$home/apt/conf apt-get update -qq || die "the package list of $suite cannot be fetched from $mirror"
	(cd "$home/packages" && APT_CONFIG=$home/apt/conf apt-get download -qq \
		libwine wine64 libc6 libunwind8 liblzma5 libgcc-s1 libz-mingw-w64) || die "wine's packages cannot be fetched from $mirror"
	for package in "$home"/packages/*.deb; do
		dpkg -x "$package" "$home/root" || die "$package cannot be unpacked"
	done
	rm -rf "$home/packages" "$home/apt" "$libraries/wine/i386-windows" "$home"/root/usr/share/{doc,man}
	for program in wine64 wineserver64; do
		patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$libraries" "$programs/$program" ||
			die "$programs/$program cannot be patched"
	done
	ln -sf wineserver64 "$programs/wineserver"
	ln -sfn . "$home/root/usr/share/wine/wine" # where the server looks for its tables
}

# prepare makes the prefix. wineboot's exit status says nothing; what it made does.
prepare() {
	mkdir -p "$WINEPREFIX/drive_c/windows/system32"
	cp "$(find "$home/root/usr/x86_64-w64-mingw32" -name zlib1.dll | head -1)" "$WINEPREFIX/drive_c/windows/system32/"
	wine 90 wineboot -i >"$home/wineboot.log" 2>&1
	timeout -k 5 60 "$WINESERVER" -w
	# Windows without a display: the tests of requests to end need them.
	wine 60 reg add 'HKCU\Software\Wine\Drivers' /v Graphics /d null /f >/dev/null 2>&1
	timeout -k 5 60 "$WINESERVER" -w
	wine 60 cmd /c ver 2>/dev/null | grep -q Windows || die "wine does not run: see $home/wineboot.log"
	touch "$home/.ready"
}

run=$(mktemp -d "${TMPDIR:-/tmp}/pgwXXXXXX") || exit 1
finish() {
	[ -n "${keeper:-}" ] && kill "$keeper" 2>/dev/null
	[ -n "${keeper:-}" ] && stop_wine # ours: nobody else's run is ended
	rm -rf "$run"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$(dirname "$home")" || die "the folder of $home cannot be made"
exec 9>"$home.lock"
flock -w 1800 9 || die "another run uses $home and does not end"
if [ ! -f "$home/.ready" ]; then
	[ -x "$WINESERVER" ] && stop_wine
	fetch
	prepare
fi
stop_wine # whatever an earlier run has left

# wine's own services end with the last program, and start again with the next one, as heirs of its output, for whose end go test then
# waits. One program that does nothing keeps them.
mkfifo "$run/never" || exit 1
"$programs/wine64" cmd /c 'set /p x=' <>"$run/never" >/dev/null 2>&1 9>&- &
keeper=$!

say "== building the commands"
for command in cmd/pairguard examples/two-processes/procA examples/two-processes/procB; do
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 go build -trimpath -o "$run/bin/" "./$command" || exit 1
done
go build -o "$run/testreport" ./scripts/testreport || exit 1
export PAIRGUARD_TEST_COMMANDS="Z:${run//\//\\}\\bin"
# Output goes through a file: a console host that outlives its program keeps it open, and go test would wait for the end of a pipe.
cat >"$run/exec" <<-END && chmod +x "$run/exec" || exit 1
	#!/bin/sh
	out=\$(mktemp "$run/outXXXXXX") || exit 1
	"$programs/wine64" "\$@" >"\$out" 2>&1 </dev/null
	status=\$?
	cat "\$out"
	exit \$status
END

# The rules of the house and the simulation say nothing of a system; supervisors and what they speak over are for Linux so far.
[ $# -gt 0 ] || set -- $(GOOS=windows go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... |
	grep -vE '/(internal/(tidy|sim|control|custody|supervisor)(/|$)|scripts/|bench/|interop)')
status=0
for round in $(seq "${ROUNDS:-1}"); do
	say "== tests under wine, round $round"
	began=$(date +%s)
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 timeout -k 10 1500 \
		"$run/testreport" -p 1 -count 1 -timeout 15m -exec "$run/exec" "$@" || status=1
	say "round $round took $(($(date +%s) - began)) s"
done
if [ $status = 0 ]; then say PASS; else say FAIL; fi
exit $status
