#!/usr/bin/env bash
# Installs what the tests take from npm, as the lock files of the given folders have
# it, and Node.js if there is none.
# Usage: scripts/install-npm.sh FOLDER...
set -euo pipefail

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
	scripts/install-debian.sh nodejs npm
fi
for folder in "$@"; do
	# npm keeps a copy of the lock file in what it installs.
	if [ ! "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
		npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund
	fi
done
