# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced, after lib.sh, by the programs that print KTAP. Cases are named first,
# so that the plan can come first, and run afterwards:
#   ktap_case NAME COMMAND...   COMMAND is a function or a program: status 0 is
#                               ok, 4 a skip (its last line says why), anything
#                               else not ok. What it prints becomes the
#                               diagnostic lines of a failure; a line that
#                               begins with "note: " is shown in any case.
#   ktap_tmp                    sets $tmp, a folder that goes when the program ends
#   ktap_run                    runs them; returns 1 if one was not ok
#   unchanged KEY COMMAND...    runs COMMAND, unless it succeeded with the same
#                               KEY (a hash of all that it depends on) before

: "${build:?lib.sh is to be sourced first}" "${self:?}"

ktap_names=()
ktap_commands=()

ktap_case() {
	ktap_names+=("$1")
	shift
	ktap_commands+=("${*@Q}")
}

ktap_tmp() {
	tmp=$(mktemp -d "$build/tmp-$self.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 130' INT TERM
}

ktap_run() {
	local i status failed=0 out=$tmp/ktap.out start

	printf 'KTAP version 1\n1..%d\n' "${#ktap_names[@]}"
	for ((i = 0; i < ${#ktap_names[@]}; i++)); do
		start=$SECONDS
		set +e
		(
			trap - EXIT INT TERM
			set -e
			eval "${ktap_commands[i]}"
		) >"$out" 2>&1 </dev/null
		status=$?
		set -e
		case $status in
		0)
			sed -n 's/^note: /# &/p' "$out"
			printf 'ok %d - %s\n' $((i + 1)) "${ktap_names[i]}"
			;;
		4)
			printf 'ok %d - %s # SKIP %s\n' $((i + 1)) "${ktap_names[i]}" "$(tail -1 "$out")"
			;;
		*)
			failed=1
			sed 's/^/# /' "$out" | head -200
			printf 'not ok %d - %s\n' $((i + 1)) "${ktap_names[i]}"
			;;
		esac
		[ $((SECONDS - start)) -lt 20 ] || say "$self: ${ktap_names[i]}: $(duration $((SECONDS - start)))"
	done
	return "$failed"
}

unchanged() {
	local key=$1 stamp status

	shift
	stamp=$build/stamps/checked/$(printf '%s\n' "${*@Q}" "$key" | sha256sum | cut -d' ' -f1)
	[ ! -e "$stamp" ] || { cat "$stamp"; return 0; }
	mkdir -p "${stamp%/*}"
	set +e
	(set -e; "$@") >"$stamp.$$" 2>&1
	status=$?
	set -e
	cat "$stamp.$$"
	[ "$status" -eq 0 ] && mv "$stamp.$$" "$stamp" || rm -f "$stamp.$$"
	return "$status"
}
