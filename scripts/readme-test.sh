#!/bin/sh
# make readme-test: does what the READMEs show work for somebody who has nothing yet?
#
# Each file is read from top to bottom in one shell, as a reader would type it: every line that begins with "$ " in a block
# marked console is run in a fresh clone of what is committed, with empty Go caches, an empty home folder and a pairguard folder of its
# own, and must exit with 0. A file whose first command clones the repository starts in an empty folder instead, and
# gets the same clone. A line that ends with a backslash goes on in the next. Not run, but listed, is a block below
#
#   <!-- not run: reason -->
#
# Arguments: the files to read, from the root (README.md and README.zh-CN.md).
set -u
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- README.md README.zh-CN.md

say() { printf '%s\n' "$*"; }
die() { say "readme-test: $*" >&2; exit 1; }

[ -e .git ] || die "this folder is no clone; get one with git to run this"
command -v bash >/dev/null || die "bash is missing; install it"
[ -z "$(git status --porcelain)" ] || say "readme-test: the working tree differs from what is committed; only the latter is tried" >&2

source=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/pgXXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What a person has set for fetching modules stays; what has been fetched or built does not.
for variable in GOPROXY GOSUMDB GONOSUMDB GOPRIVATE GONOPROXY GOTOOLCHAIN GOFLAGS; do
	value=$(go env $variable)
	[ -z "$value" ] || export "$variable=$value"
done
export GOFLAGS="${GOFLAGS:-} -modcacherw"
export GOPATH="$work/go" GOMODCACHE="$work/go/pkg/mod" GOCACHE="$work/cache" GOTMPDIR="$work/t" TMPDIR="$work/t" HOME="$work/home"
export PAIRGUARD_DIR="$work/pairs" PAIRGUARD_TEST_RUN="$$-$(date +%s)"
unset PAIRGUARD_TEST_WITHOUT GOBIN GOENV
# The published address means this repository, so that "git clone" works before it is published.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.$source.insteadOf" GIT_CONFIG_VALUE_0=https://github.com/pairguard/pairguard

# commands FILE writes the blocks as a bash script. A README's text cannot break out of the quotes.
commands() {
	awk -v file="$1" '
	function quoted(s) { gsub(/\047/, "\047\\\047\047", s); return "\047" s "\047" }
	function flush() {
		if (command == "") return
		if (skip == "") printf "step %s %s\n", quoted(file ":" start), quoted(command)
		else printf "printf \"   not run: %%s: %%s (%%s)\\n\" %s %s %s\n", quoted(file ":" start), quoted(command), quoted(skip)
		command = ""
	}
	/^```/ {
		flush()
		if (inside) { inside = 0; skip = ""; next }
		if ($0 ~ /^```console[ \t]*$/) { inside = 1; next }
		if (!other) { other = 1 } else { other = 0 }
		skip = ""
		next
	}
	inside && more { command = command "\n" $0; more = ($0 ~ /\\$/); next }
	inside && /^\$ / { flush(); command = substr($0, 3); start = NR; more = ($0 ~ /\\$/); next }
	inside { next }
	/^<!-- not run: .* -->[ \t]*$/ { skip = $0; sub(/^<!-- not run: /, "", skip); sub(/ -->[ \t]*$/, "", skip); next }
	/[^ \t]/ { skip = "" }
	END { flush() }
	' "$2"
}

# try FILE runs it in a folder of its own.
try() {
	file=$1 folder="$work/$(say "$1" | tr -c 'A-Za-z0-9\n' _)"
	mkdir -p "$folder" && git clone -q "$source" "$folder/clone" || return 1
	[ -e "$folder/clone/$file" ] || { say "readme-test: $file is not committed" >&2; return 1; }
	commands "$file" "$folder/clone/$file" >"$folder/steps"
	steps=$(grep -c '^step ' "$folder/steps")
	[ "$steps" -gt 0 ] || { say "readme-test: $file shows no command in a console block" >&2; return 1; }
	start="$folder/clone"
	if grep -m 1 '^step ' "$folder/steps" | grep -q " 'git clone "; then
		start="$folder/empty"
		mkdir "$start"
	fi
	cat - "$folder/steps" >"$folder/script" <<-'END'
		step() {
			printf '== %s: $ %s\n' "$1" "$2"
			eval "$2"
			status=$?
			[ $status = 0 ] || { printf 'FAIL %s: exit code %s: %s\n' "$1" "$status" "$2"; exit 1; }
		}
	END
	say "== $file: $steps commands"
	limit=
	! command -v timeout >/dev/null || limit="timeout -k 10 15m"
	(cd "$start" && $limit bash "$folder/script" </dev/null)
}

mkdir -p "$work/t" "$work/home"
before=$("$source/scripts/leftovers.sh" folders)
failed=
for file in "$@"; do
	try "$file" || failed="$failed $file"
done
# The records of the pairs may stay in their folder below $work; their processes may not.
mkdir "$work/none"
"$source/scripts/leftovers.sh" check "$work/none" "$before" || failed="$failed leftovers"
[ -z "$failed" ] || die "failed:$failed"
say PASS
