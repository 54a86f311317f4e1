#!/usr/bin/env bash
# Makes what a release consists of, in a folder that is empty or not there yet.
# Usage: scripts/release.sh VERSION FOLDER [OS/ARCH...]
#        (default: linux/amd64 linux/arm64 darwin/arm64)
#
# For each platform an archive with the binary, its licence and those of what it
# contains; for each Linux a Debian package, where dpkg-deb is; a bill of materials
# (CycloneDX); the licences' texts; and SHA256SUMS of all that. The same commit, VERSION
# and version of Go give the same files, byte for byte, in any folder.
#
# It is made of the last commit, whatever else the folder holds.
# A licence that packaging/licences does not allow fails it: see make licences.
set -euo pipefail

usage() {
	echo "$1" >&2
	echo "usage: $0 VERSION FOLDER [OS/ARCH...]" >&2
	exit 2
}
[ $# -ge 2 ] || usage "want a version and a folder"
version=${1#v}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+([-+.][0-9A-Za-z.-]+)?$ ]] || usage "version \"$1\": want one such as 1.2.0 or 1.2.0-rc.1"
if [ -d "$2" ] && [ -n "$(ls -A "$2")" ]; then usage "folder \"$2\": holds something: want one that is empty"; fi
platforms=("${@:3}")
[ ${#platforms[@]} -gt 0 ] || platforms=(linux/amd64 linux/arm64 darwin/arm64)
for platform in "${platforms[@]}"; do
	[[ $platform =~ ^[a-z0-9]+/[a-z0-9]+$ ]] || usage "platform \"$platform\": want one such as linux/amd64"
done

mkdir -p "$2"
out=$(cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet "$(dirname "$0")/.." "$work/edge"
cd "$work/edge"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath -buildvcs=false"
module=$(go list -m)

scripts/sbom.sh "$work/sbom"
(cd packaging && go run ./licences -sbom "$work/sbom" -module .. -texts "$work/THIRD-PARTY.txt")
mv "$work/sbom" "$out/edge_$version.cdx.json"

for platform in "${platforms[@]}"; do
	os=${platform%/*} arch=${platform#*/}
	name=edge_${version}_${os}_$arch
	mkdir -p "$work/files/$name"
	GOOS=$os GOARCH=$arch go build -ldflags "-s -w -buildid= -X $module/caddymodule.unversioned=v$version" -o "$work/files/$name/edge" ./cmd/edge
	cp LICENSE README.md CHANGELOG.md Caddyfile.example "$work/THIRD-PARTY.txt" "$work/files/$name"
	tar --create --directory "$work/files" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r,go-w "$name" |
		gzip -n >"$out/$name.tar.gz"
	if [ "$os" = linux ] && command -v dpkg-deb >/dev/null; then
		DEB_ARCH=$arch packaging/debian/build.sh "$version" "$work/files/$name/edge" "$out/edge_${version}_$arch.deb" "$work/THIRD-PARTY.txt"
	fi
done
mv "$work/THIRD-PARTY.txt" "$out"
cd "$out"
sha256sum -- * >"$work/SHA256SUMS"
mv "$work/SHA256SUMS" .
cat SHA256SUMS
