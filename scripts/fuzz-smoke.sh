#!/usr/bin/env bash
# Runs every fuzz target for a short while, one after another.
# Usage: scripts/fuzz-smoke.sh [TIME]     (default 3s a target)
#
# Go before 1.27 sometimes takes the end of the time itself for a failure
# (golang/go#75804): "context deadline exceeded", and nothing else. Such a run
# says nothing about the target, so it is made again, three times at most; a
# target passes only by a run that ends well. Whatever else fails, fails.
set -euo pipefail

time=${1:-3s}
ran=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# at_the_deadline reports that the log holds that failure alone.
at_the_deadline() {
	grep -qx '    context deadline exceeded' "$log" &&
		! grep -qvE '^(fuzz: .*|--- FAIL: Fuzz[A-Za-z0-9_]+ \([0-9.]+s\)|    context deadline exceeded|FAIL|FAIL	.*|exit status 1)$' "$log"
}

while IFS=: read -r file target; do
	package=./$(dirname "$file")
	for try in 1 2 3; do
		echo "fuzz $package $target $time"
		go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$time" >"$log" 2>&1 && break
		cat "$log"
		if [ "$try" -eq 3 ] || ! at_the_deadline; then exit 1; fi
	done
	ran=$((ran + 1))
done < <(git grep -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' ':!bench' | sed 's/:func /:/')
[ "$ran" -gt 0 ] || { echo "no fuzz target found" >&2; exit 1; }
echo "$ran fuzz targets ran"
