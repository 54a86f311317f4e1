#!/usr/bin/env bash
# Builds the last commit twice, in two folders of different names, and fails unless
# both binaries are the same, byte for byte.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in one another/of/them; do
	git clone --quiet --shared "$top" "$work/$folder"
	make --silent --directory "$work/$folder" build
done
cd "$work"
first=$(sha256sum <one/bin/edge) second=$(sha256sum <another/of/them/bin/edge)
if [ "$first" != "$second" ]; then
	echo "two builds of the same commit differ: ${first%% *} and ${second%% *}" >&2
	exit 1
fi
echo "reproducible: ${first%% *}"
