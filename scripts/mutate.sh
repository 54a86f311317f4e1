#!/usr/bin/env bash
# Breaks the cache in many small ways, one at a time and in a copy of the file,
# and expects the random schedules to notice. What they miss is printed, and
# the exit code says so.
# A mutant that two thousand do not notice has ten thousand played, as some
# mistakes take a rare coincidence. Some have a test of their own instead.
# Usage: scripts/mutate.sh [NAME...]     (default: all of scripts/mutants.tsv)
set -euo pipefail

cd "$(dirname "$0")/.."
list=scripts/mutants.tsv
package=internal/httpcache
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

names() { grep -v '^#' "$list" | cut -f1 | awk 'NF && !seen[$0]++'; }

# mutate NAME: the changed files, and an overlay that puts them in the place of
# the real ones. A mutant that changes nothing is out of date.
mutate() {
	local name=$1 file edit own
	test=
	rm -rf "$work/files" && mkdir -p "$work/files"
	while IFS=$'\t' read -r _ file edit own; do
		test=$own
		[ -f "$work/files/$file" ] || cp "$package/$file" "$work/files/$file"
		cp "$work/files/$file" "$work/before"
		perl -0pi -e "$edit" "$work/files/$file"
		if cmp -s "$work/before" "$work/files/$file"; then
			echo "$name: $edit changes nothing in $file: bring $list up to date" >&2
			exit 1
		fi
	done < <(awk -F'\t' -v name="$name" '$1 == name' "$list")
	for file in "$work"/files/*; do
		printf '"%s": "%s"\n' "$PWD/$package/$(basename "$file")" "$file"
	done | paste -sd, | sed 's/.*/{"Replace": {&}}/' >"$work/overlay.json"
}

# examine runs a mutant's own test, and succeeds if that noticed nothing.
examine() {
	go test -overlay "$work/overlay.json" -vet=off -count=1 -run "^$test\$" "./$package" >"$work/out" 2>&1
}

# play has so many schedules played, and succeeds if none noticed anything. A
# mutant that hangs is noticed by the time-out; the schedules alone take seconds.
play() {
	go test -overlay "$work/overlay.json" -vet=off -count=1 -timeout "$((5 + $1 / 200))m" -run '^TestSchedules$' \
		"./$package" -schedules "$1" >"$work/out" 2>&1
}

chosen=("$@")
[ ${#chosen[@]} -gt 0 ] || mapfile -t chosen < <(names)
killed=0 missed=()
for name in "${chosen[@]}"; do
	mutate "$name"
	if [ -n "$test" ] && examine || [ -z "$test" ] && play 2000 && play 10000; then
		missed+=("$name")
		echo "MISSED  $name"
	elif grep -q 'build failed\|setup failed' "$work/out"; then
		cat "$work/out" >&2
		echo "$name does not compile: bring $list up to date" >&2
		exit 1
	else
		killed=$((killed + 1))
		how=$(grep -m1 -oE '(seed [0-9]+|panic|timed out|lost their aim|deadlock).*' "$work/out" || true)
		echo "killed  $name: ${how:0:230}"
	fi
done
echo "$killed of ${#chosen[@]} mutants killed"
[ ${#missed[@]} -eq 0 ]
