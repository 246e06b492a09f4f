#!/bin/sh
# What a test run left behind.
#
#   leftovers.sh folders                   the pairguard folders that this user has, for comparing later
#   leftovers.sh check TEMP FOLDERS        0 if no process and no file of the run is left. TEMP: where all its temporary files
#                                          went; FOLDERS: what "folders" said before. $PAIRGUARD_TEST_RUN marks its processes.
#
# A process belongs to the run when its executable or its working directory lies below TEMP, or when it has inherited the mark. The Go
# toolchain's own (its telemetry outlives a command for a moment), this script and who called it do not count. Processes are
# found in /proc, so on Linux alone.
set -u

say() { printf '%s\n' "$*"; }

folders() {
	for folder in /run/pairguard "${HOME:-/nonexistent}/.local/state/pairguard" "${HOME:-/nonexistent}/Library/Application Support/pairguard"; do
		[ -e "$folder" ] && say "$folder"
	done
	return 0
}

# ancestors are this script and all who called it.
ancestors() {
	pid=$$
	while [ "${pid:-0}" -gt 0 ]; do
		printf ' %s' "$pid"
		pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null)
	done
	printf ' '
}

# ours PID: does it belong to the run?
ours() {
	exe=$(readlink "/proc/$1/exe" 2>/dev/null) || return 1
	case $exe in "$goroot"/*) return 1 ;; "$temp"/*) return 0 ;; esac
	case $(readlink "/proc/$1/cwd" 2>/dev/null)/ in "$temp"/*) return 0 ;; esac
	tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | grep -qx "PAIRGUARD_TEST_RUN=$PAIRGUARD_TEST_RUN"
}

# processes prints the pids of the run's processes. What this script itself starts meanwhile is a child of it.
processes() {
	for folder in /proc/[0-9]*; do
		pid=${folder#/proc/}
		case $skip in *" $pid "*) continue ;; esac
		parent=$(sed -n 's/^PPid:[[:space:]]*//p' "$folder/status" 2>/dev/null)
		[ "$parent" = $$ ] && continue
		ours "$pid" && say "$pid"
	done
	return 0
}

check() {
	temp=$(cd "$1" && pwd -P) before=$2 bad=0
	if [ -d /proc/self ]; then
		goroot=$(go env GOROOT) skip=$(ancestors) tries=0
		left=$(processes)
		# What has been told to end may need a moment for it.
		while [ -n "$left" ] && [ $tries -lt 20 ]; do
			sleep 0.2
			tries=$((tries + 1))
			left=$(processes)
		done
		for pid in $left; do
			say "left process $pid: $(readlink "/proc/$pid/exe") $(tr '\0' ' ' <"/proc/$pid/cmdline")" | cut -c 1-300
			bad=1
			kill -9 "$pid" 2>/dev/null
		done
		[ -n "$left" ] || say "no process of this run is left"
	else
		say "processes that are left are not looked for: there is no /proc here"
	fi
	files=$(find "$temp" -mindepth 1 -maxdepth 1)
	if [ -n "$files" ]; then
		say "left files:" "$(find "$temp" -mindepth 1 | head -n 20)"
		bad=1
	else
		say "no file of this run is left"
	fi
	now=$(folders)
	if [ "$now" != "$before" ]; then
		say "the tests touched the folder of the user who runs them: $now"
		bad=1
	fi
	return $bad
}

case ${1:-} in
folders) folders ;;
check) check "$2" "$3" ;;
*) say "leftovers.sh: say folders or check" >&2; exit 2 ;;
esac
