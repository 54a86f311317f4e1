#!/usr/bin/env bash
# Builds a Debian package of a binary that is built already.
# Usage: packaging/debian/build.sh VERSION BINARY OUT.deb [THIRD-PARTY.txt]
#
# The last has the licences of what the binary contains, which have to go with a package
# that others get: see scripts/release.sh.
#
# The same binary gives the same package, byte for byte: SOURCE_DATE_EPOCH is the time
# of all files in it (default: that of the last commit, or 1970).
set -euo pipefail

if [ $# -lt 3 ] || [ $# -gt 4 ]; then
	echo "usage: $0 VERSION BINARY OUT.deb [THIRD-PARTY.txt]" >&2
	exit 2
fi
version=${1#v} binary=$2 out=$3 texts=${4:-}
case $version in
[0-9]*) ;;
*)
	echo "version \"$1\": want one that begins with a digit, such as 1.2.0" >&2
	exit 2
	;;
esac
here=$(cd "$(dirname "$0")" && pwd)
packaging=$(dirname "$here")
top=$(dirname "$packaging")
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
put() { install -D -m "$1" "$2" "$root/$3"; }

put 755 "$binary" usr/bin/edge
put 644 "$packaging/systemd/edge.service" usr/lib/systemd/system/edge.service
put 644 "$packaging/systemd/edge.socket" usr/lib/systemd/system/edge.socket
put 644 "$here/edge.sysusers" usr/lib/sysusers.d/edge.conf
put 600 "$packaging/env/production.env.example" etc/edge/edge.env
put 644 "$top/Caddyfile.example" usr/share/doc/edge/Caddyfile.example
put 644 "$top/LICENSE" usr/share/doc/edge/copyright
put 644 "$top/CHANGELOG.md" usr/share/doc/edge/CHANGELOG.md
[ -z "$texts" ] || put 644 "$texts" usr/share/doc/edge/THIRD-PARTY.txt
for script in postinst prerm postrm; do
	put 755 "$here/$script" "DEBIAN/$script"
done
echo /etc/edge/edge.env >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<CONTROL
Package: edge
Version: $version
Architecture: ${DEB_ARCH:-$(dpkg --print-architecture)}
Maintainer: the edge developers <edge@localhost>
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
Section: httpd
Priority: optional
Depends: ca-certificates
Recommends: systemd
Description: deploy-aware caching gateway
 One binary, a build of Caddy, between Cloudflare and the replicas of a web
 application: balances, caches, and purges what a deploy has retired.
CONTROL
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
chmod 755 "$root" "$root/DEBIAN"
dpkg-deb --root-owner-group -Zzstd -z3 --threads-max=1 --build "$root" "$out" >/dev/null
