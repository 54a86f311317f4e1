#!/bin/sh
# Calls edge deploy in CI. What it needs comes in variables, so that nothing that
# stands in them is ever read as a flag or as shell:
#
#   EDGE_SERVER   where edge_control is mounted      EDGE_TOKEN    the control token
#   EDGE_VERSION  what every replica is to run       EDGE_POOL     the pool, if there are several
#   EDGE_TIMEOUT  how long the replicas may take     EDGE_VERIFY   URLs, one a line
#   EDGE_WARM     sitemaps and pages, one a line     EDGE_KEY      the same key, the same deploy
#   EDGE_REASON   for the history; CI if none      EDGE          the binary, if it is not edge
#
# The exit code is edge deploy's. On GitHub, id, state and exit are outputs.
set -eu

for name in EDGE_SERVER EDGE_TOKEN EDGE_VERSION; do
	eval "value=\${$name:-}"
	if [ -z "$value" ]; then
		echo "ci-deploy: no $name: want it in a variable" >&2
		exit 2
	fi
done

set -- --version="$EDGE_VERSION" --timeout="${EDGE_TIMEOUT:-10m}" --reason="${EDGE_REASON:-CI}"
[ -z "${EDGE_POOL:-}" ] || set -- "$@" --pool="$EDGE_POOL"
[ -z "${EDGE_KEY:-}" ] || set -- "$@" --idempotency-key="$EDGE_KEY"
while IFS= read -r url; do
	[ -z "$url" ] || set -- "$@" --verify="$url"
done <<URLS
${EDGE_VERIFY:-}
URLS
while IFS= read -r url; do
	[ -z "$url" ] || set -- "$@" --warm="$url"
done <<URLS
${EDGE_WARM:-}
URLS

said=$(mktemp)
trap 'rm -f "$said"' EXIT
code=0
"${EDGE:-edge}" deploy "$@" >"$said" || code=$?
cat "$said"
if [ -n "${GITHUB_OUTPUT:-}" ]; then
	# The receipt begins: deploy ID of VERSION to pool POOL STATE…
	sed -n '1s/^deploy \([a-z0-9]*\) of .* to pool [^ ]* \([a-z]*\),.*$/id=\1\nstate=\2/p' "$said" >>"$GITHUB_OUTPUT"
	echo "exit=$code" >>"$GITHUB_OUTPUT"
fi
exit "$code"
