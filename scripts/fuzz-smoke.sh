#!/usr/bin/env bash
# Runs every fuzz target for a short while, one on each processor at a time.
# Usage: scripts/fuzz-smoke.sh [TIME [PATTERN]]     (default 3s a target, all of them)
#        PATTERN is a regular expression for FOLDER:TARGET.
#        JOBS=3 runs as many at a time.
#        ROWS=FILE adds a row of a Markdown table for each target that passed.
#
# A package's targets are built once, with the instrumentation that tells the
# fuzzer which inputs reach new code; a run without it fails.
#
# Go before 1.27 sometimes takes the end of the time itself for a failure
# (golang/go#75804): "context deadline exceeded", and nothing else. Such a run
# says nothing about the target, so it is made again, three times at most; a
# target passes only by a run that ends well. Whatever else fails, fails.
set -euo pipefail

export time=${1:-3s}
pattern=${2:-.}
jobs=${JOBS:-$(nproc)}
export ROWS=${ROWS:-}
work=$(mktemp -d)
export work
trap 'rm -rf "$work"' EXIT
cache=$(go env GOCACHE)/fuzz/$(go list -m)
export cache

# build makes the test binary of a package's folder.
build() {
	go test -c -ldflags=-w -fuzz=Fuzz -o "$work/${1//\//_}.test" "./$1"
}

# at_the_deadline reports that a log holds that failure alone.
at_the_deadline() {
	grep -qx '    context deadline exceeded' "$1" &&
		! grep -qvE '^(fuzz: .*|--- FAIL: Fuzz[A-Za-z0-9_]+ \([0-9.]+s\)|    context deadline exceeded|FAIL|exit status 1)$' "$1"
}

# once runs a target for the time, as go test would, and writes what it says to a log.
once() {
	local folder=$1 target=$2 log=$3
	(cd "$folder" && "$work/${folder//\//_}.test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" \
		-test.fuzzcachedir "$cache/$folder" -test.parallel 1 -test.paniconexit0) >"$log" 2>&1
}

# row is the last line of a log, as a row of a table: inputs tried, those which
# reached something new, and all that do.
row() {
	sed -nE "s#^fuzz: elapsed: ([^,]+), execs: ([0-9]+) .*new interesting: ([0-9]+) \(total: ([0-9]+)\).*#| $1 | $2 | \1 | \2 | \3 | \4 |#p" "$3" | tail -n 1
}

# fuzz runs one target, given as FILE:TARGET.
fuzz() {
	local file=${1%%:*} target=${1#*:}
	local folder log=$work/$target.log
	folder=$(dirname "$file")
	log=$work/${folder//\//_}.$target.log
	for try in 1 2 3; do
		echo "fuzz ./$folder $target $time"
		if once "$folder" "$target" "$log"; then
			if grep -q '^fuzz: elapsed: .*gathering baseline coverage' "$log"; then
				[ -z "$ROWS" ] || row "$folder" "$target" "$log" >>"$ROWS"
				return
			fi
			echo "$target: the fuzzer was not told what the inputs reach" >&2
			cat "$log"
			return 1
		fi
		cat "$log"
		if [ "$try" -eq 3 ] || ! at_the_deadline "$log"; then return 1; fi
	done
}
export -f build at_the_deadline once row fuzz

targets=$(git grep -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' ':!bench' | sed 's/:func /:/' |
	while IFS=: read -r file target; do
		if [[ $(dirname "$file"):$target =~ $pattern ]]; then echo "$file:$target"; fi
	done)
[ -n "$targets" ] || { echo "no fuzz target found for $pattern" >&2; exit 1; }
cut -d: -f1 <<<"$targets" | xargs -n 1 dirname | sort -u | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'build "$1"' _ {}
xargs -P "$jobs" -I{} bash -euo pipefail -c 'fuzz "$1"' _ {} <<<"$targets"
echo "$(wc -l <<<"$targets") fuzz targets ran"
