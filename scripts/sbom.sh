#!/usr/bin/env bash
# Writes a bill of materials of edge, with the licence of each module: CycloneDX, JSON.
# Usage: scripts/sbom.sh FILE
#
# It is about the last commit. Its version of edge is the commit's tag, or what Go calls
# a commit without one. The modules are those of a binary for this system.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 FILE" >&2; exit 2; }
file=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet "$(dirname "$0")/.." "$work/edge"
cd "$work/edge"
go tool -modfile=scripts/tools/go.mod cyclonedx-gomod app -json -licenses -assert-licenses -noserial -notimestamp \
	-main cmd/edge -output "$file" . >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
