# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
#
# KTAP for guest tests in shell:
#
#	. /lib/ktap.sh
#	ktap_plan 3
#	ktap_is "it reads back" cmp a b		ok if the command succeeds; what it
#						prints becomes diagnostic lines
#	ktap_ok "it is so"
#	ktap_fail "it is so" "why not"
#	ktap_skip "the other case" "why"	guest/skips must allow it
#	ktap_note "a diagnostic line"
#	ktap_bail "the test cannot go on"
#
# Standard output is a device that is opened once: write to it, or to >&1, and
# not to /dev/stdout. Standard error goes to the console.

ktap_number=0

ktap_plan() {
	printf 'KTAP version 1\n1..%d\n' "$1"
}

ktap_note() {
	printf '# %s\n' "$*"
}

ktap_ok() {
	ktap_number=$((ktap_number + 1))
	printf 'ok %d - %s\n' "$ktap_number" "$1"
}

ktap_fail() {
	ktap_number=$((ktap_number + 1))
	[ -z "${2-}" ] || ktap_note "$2"
	printf 'not ok %d - %s\n' "$ktap_number" "$1"
}

ktap_skip() {
	ktap_number=$((ktap_number + 1))
	printf 'ok %d - %s # SKIP %s\n' "$ktap_number" "$1" "$2"
}

ktap_is() {
	local name="$1" out status=0

	shift
	out=$("$@" 2>&1) || status=$?
	[ -z "$out" ] || printf '%s\n' "$out" | sed 's/^/# /'
	if [ "$status" -eq 0 ]; then
		ktap_ok "$name"
	else
		ktap_fail "$name" "'$*' ended with $status"
		return 1
	fi
}

ktap_bail() {
	printf 'Bail out! %s\n' "$*"
	exit 1
}
