#!/usr/bin/env bash
# Installs the public HTTP cache test suite for the tests, as its lock file has
# it, and Node.js if there is none.
set -euo pipefail

folder=caddymodule/testdata/suite
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
	scripts/install-debian.sh nodejs npm
fi
# npm keeps a copy of the lock file in what it installs.
if [ ! "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
	npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund
fi
