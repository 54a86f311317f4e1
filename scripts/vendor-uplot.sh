#!/usr/bin/env bash
# Fetches uPlot, the charts of the dashboard, as the registry has it, and puts the
# files that the page loads, with its licence, into internal/dashboard/page.
# Building edge needs neither this nor npm: the files are committed, and a test
# holds their checksums. To change the version, change the three values below and
# the checksums in internal/dashboard/vendor_test.go.
set -euo pipefail

version=1.6.32
sha512=2883159c6ebccefbb95d751b0b82d010f9e1c0ec41b8bc96d401eda66e882935c89a46cb824332fa369b8cb8122cc6ac36e186cd09bf7a9ded3a4c93c6989023
page=internal/dashboard/page

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm pack "uplot@$version" --pack-destination "$work" --silent >/dev/null
echo "$sha512  $work/uplot-$version.tgz" | sha512sum --check --quiet
tar -xzf "$work/uplot-$version.tgz" -C "$work"
cp "$work/package/dist/uPlot.esm.js" "$page/uplot.js"
cp "$work/package/dist/uPlot.min.css" "$page/uplot.css"
cp "$work/package/LICENSE" "$page/uplot-licence.txt"
