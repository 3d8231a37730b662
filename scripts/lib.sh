# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by the programs in scripts/. Sets
#   root    the repository
#   build   the folder for everything made (its real path has no blanks)
#   self    the program's name, for messages
# and the functions below. Messages for people go to standard error, results to
# standard output.

set -euo pipefail
export LC_ALL=C

self=${0##*/}
root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
die() {
	printf '%s: %s\n' "$self" "$*" >&2
	exit 2
}

# usage: print the comment block at the top of the calling program
usage() {
	awk 'NR <= 2 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
}

# The kernel's build system takes no blanks and no colons in paths: where the
# repository has some, build/ is a link to a folder of the user's cache.
find_build() {
	local cache

	case $root in
	*[[:space:]:]*)
		cache=${XDG_CACHE_HOME:-$HOME/.cache}/linux-zmem/$(printf %s "$root" | cksum | tr ' ' -)
		case $cache in
		*[[:space:]:]*)
			die "neither '$root' nor '$cache' is a path in which a kernel can be built: both have blanks or colons"
			;;
		esac
		if [ ! -e "$root/build" ]; then
			mkdir -p "$cache" || die "cannot make $cache"
			ln -sfn "$cache" "$root/build"
			say "note: a kernel cannot be built in a path with blanks or colons; build/ is $cache"
		fi
		;;
	*)
		mkdir -p "$root/build" || die "cannot make $root/build"
		;;
	esac
	build=$(cd -P "$root/build" && pwd)
	mkdir -p "$build/stamps" "$build/data" "$build/runs" "$build/out" "$build/log" ||
		die "cannot write to $build"
}
find_build

need() { # need PROGRAM GROUP: stop with a hint where PROGRAM is missing
	command -v "$1" >/dev/null ||
		die "$1 is not installed: run 'scripts/deps $2' (as root, or with sudo)"
}

# One writer a thing: lock NAME holds build/NAME.lock until the program ends.
lock() {
	exec 9>"$build/$1.lock"
	if ! flock -n 9; then
		say "$self: waiting for another run that uses $1"
		flock 9
	fi
}

# free_space MIB WHAT: stop before anything is half done on a full disk
free_space() {
	local avail

	avail=$(df -Pm "$build" | awk 'NR == 2 { print $4 }')
	[ "$avail" -ge "$1" ] ||
		die "$2 needs $1 MiB in $build, and $avail MiB are free"
}

# stamp_is NAME HASH: true if NAME was last made from HASH
stamp_is() { [ "$(cat "$build/stamps/$1" 2>/dev/null)" = "$2" ]; }
stamp_set() { printf '%s\n' "$2" >"$build/stamps/$1"; }
stamp_clear() { rm -f "$build/stamps/$1"; }

duration() { # seconds, for people
	if [ "$1" -ge 60 ]; then
		printf '%d min %02d s' $(($1 / 60)) $(($1 % 60))
	else
		printf '%d s' "$1"
	fi
}

# progress LABEL EXPECTED_LINES LOGFILE -- COMMAND...: run COMMAND with its
# output in LOGFILE; on a terminal show how far it is, elsewhere a line every
# half minute. Returns COMMAND's status.
progress() {
	local label=$1 expect=$2 log=$3 start=$SECONDS pid lines=0 pct last=0 status=0
	shift 4
	: >"$log"
	exec 8<"$log"
	"$@" >"$log" 2>&1 8<&- 9>&- &
	pid=$!
	# shellcheck disable=SC2064
	trap "kill_tree $pid; exit 130" INT TERM
	# No command substitution in this loop: while bash 5.2 reads one it takes the
	# text of a trap for a part of it, and the signal is lost.
	while kill -0 "$pid" 2>/dev/null; do
		while read -r _ <&8; do
			lines=$((lines + 1))
		done
		pct=$((lines * 100 / (expect > 0 ? expect : 1)))
		[ "$pct" -le 99 ] || pct=99
		if [ -t 2 ]; then
			printf '\r%-40s %3d%%  ' "$label" "$pct" >&2
			duration $((SECONDS - start)) >&2
			printf '  ' >&2
		elif [ $((SECONDS - last)) -ge 30 ] && [ $((SECONDS - start)) -ge 30 ]; then
			last=$SECONDS
			printf '%s: %d%%, ' "$label" "$pct" >&2
			duration $((SECONDS - start)) >&2
			printf '\n' >&2
		fi
		sleep 0.3
	done
	wait "$pid" || status=$?
	trap - INT TERM
	exec 8<&-
	if [ -t 2 ]; then
		printf '\r%-40s %s        \n' "$label" "$(duration $((SECONDS - start)))" >&2
	else
		say "$label: $(duration $((SECONDS - start)))"
	fi
	return "$status"
}

# package_id PACKAGE VERSION: what build/stamps/base says of a tree made from that
package_id() { printf 'package %s %s import 2\n' "$1" "$2"; }

# use_ccache COMPILER: have make_args of the kernel's make take ccache, if it is there
use_ccache() {
	command -v ccache >/dev/null && [ "${ZMEM_CCACHE:-1}" = 1 ] || return 0
	make_args+=(CC="ccache $1" HOSTCC="ccache gcc")
	export CCACHE_DIR=${CCACHE_DIR:-$build/ccache} CCACHE_BASEDIR=$build CCACHE_NOHASHDIR=1
	export CCACHE_SLOPPINESS=time_macros CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-4G}
}

# kill_tree PID: end a process and everything it started. It is stopped first, so
# that it starts nothing else when what it waits for has ended.
kill_tree() {
	local child

	kill -STOP "$1" 2>/dev/null || return 0
	for child in $(pgrep -P "$1" 2>/dev/null); do
		kill_tree "$child"
	done
	kill "$1" 2>/dev/null || :
	kill -CONT "$1" 2>/dev/null || :
}

# The identity that patches and commits carry: the repository's, whatever the
# user's own configuration says; its last author's where it has none.
git_identity() {
	local name email

	name=$(git -C "$root" config --local user.name || git -C "$root" log -1 --format=%an 2>/dev/null || :)
	email=$(git -C "$root" config --local user.email || git -C "$root" log -1 --format=%ae 2>/dev/null || :)
	[ -n "$name" ] && [ -n "$email" ] ||
		die "this repository does not say who writes its patches: git config user.name and user.email in it"
	printf '%s\n%s\n' "$name" "$email"
}

# git in build/linux, with none of the user's own settings: patches must be the
# same bytes wherever they are exported.
kgit() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null \
		git -C "$build/linux" "$@"
}

# The topics, in the order in which they are stacked
# shellcheck disable=SC2034
topics='mobility z3fold zsmalloc zswap zram testing'

# series_hash: what patches/ has, as one hash
series_hash() {
	(cd "$root/patches" && find . -name '[0-9]*.patch' ! -name '0000-*' -print0 |
		sort -z | xargs -0 -r sha256sum) | sha256sum | cut -d' ' -f1
}

# tips_hash: where build/linux's base and topic branches point, as one hash
tips_hash() {
	local topic

	{
		kgit rev-parse -q --verify base
		for topic in $topics; do
			kgit rev-parse -q --verify "refs/heads/topic/$topic" || echo none
		done
	} | sha256sum | cut -d' ' -f1
}

# Work on the series that exists only in build/linux: changes, and topic branches
# that are not what was applied.
unexported() {
	[ -d "$build/linux/.git" ] && [ -f "$build/stamps/tips" ] || return 1
	[ -n "$(kgit status --porcelain --untracked-files=no)" ] || ! stamp_is tips "$(tips_hash)"
}

# Anything that would be lost with build/linux: new files, commits that no topic
# branch has, what is stashed, a rebase that has stopped.
precious() {
	local git=$build/linux/.git

	[ -d "$git" ] && [ -f "$build/stamps/tips" ] || return 1
	unexported || [ -d "$git/rebase-merge" ] || [ -d "$git/rebase-apply" ] ||
		[ -n "$(kgit status --porcelain)" ] || kgit rev-parse -q --verify refs/stash >/dev/null ||
		[ -n "$(kgit rev-list -n 1 HEAD --branches --not base --branches='topic/*')" ]
}

# compared CONFIG...: build the kernels that are measured side by side, and set
# $measured to their names: base, series, and 6.12 where it can be had
compared() {
	local config variant option

	measured=(base series)
	! with_reference || measured+=(6.12)
	for config; do
		for variant in "${measured[@]}"; do
			variant_option "$variant"
			"$root/scripts/build" "${option[@]}" "$config"
		done
	done
}

# with_reference: true if 6.12 can be measured; ends the program if making its tree
# failed for another reason than that there is none
with_reference() {
	local status=0

	"$root/scripts/reference" || status=$?
	case $status in
	0) return 0 ;;
	3) say 'NOTE: 6.12 is NOT measured' && return 1 ;;
	*) exit "$status" ;;
	esac
}

# variant_option VARIANT: into $option, what scripts/build and scripts/boot call it
variant_option() {
	case $1 in
	base) option=(--base) ;;
	series) option=() ;;
	6.12) option=(--reference) ;;
	esac
}

# compare_head WHAT: the first two lines of a table for compare_rows
compare_head() {
	case " ${measured[*]} " in
	*' 6.12 '*)
		echo "|${1:+ $1} | base | series | / base | 6.12 | / 6.12 |"
		echo '| --- | ---: | ---: | ---: | ---: | ---: |'
		;;
	*)
		echo "|${1:+ $1} | base | series | / base |"
		echo '| --- | ---: | ---: | ---: |'
		;;
	esac
}

# compare_rows NAME BASE SERIES [6.12]: a row, with ratios; "-" where there is none
compare_rows() {
	awk -v name="$1" -v base="${2:--}" -v series="${3:--}" -v newer="${4-none}" '
		function ratio(a, b) { return a ~ /[0-9]/ && b + 0 > 0 ? sprintf("%.2f", a / b) : "-" }
		BEGIN {
			printf "| %s | %s | %s | %s |", name, base, series, ratio(series, base)
			if (newer == "") newer = "-"
			if (newer != "none") printf " %s | %s |", newer, ratio(series, newer)
			print ""
		}'
}

# put_table MARKER TEXT: to docs/benchmarks.md, between its <!-- MARKER --> and end
put_table() {
	local page=$root/docs/benchmarks.md new

	grep -qxF "<!-- $1 -->" "$page" || return 0
	# what was measured with more kernels is not replaced by less
	if [[ $2 != *6.12* ]] && sed -n "/^<!-- $1 -->$/,/^<!-- end -->$/p" "$page" | grep -qF '| 6.12'; then
		say "NOTE: the table in docs/benchmarks.md has 6.12 and stays as it is"
		return 0
	fi
	new=$(mktemp "$page.XXXXXX")
	awk -v marker="<!-- $1 -->" -v text="$2" '
		$0 == marker { print; print text; skip = 1; next }
		/^<!-- end -->$/ { skip = 0 }
		!skip' "$page" >"$new" && chmod 644 "$new" && mv "$new" "$page"
}
