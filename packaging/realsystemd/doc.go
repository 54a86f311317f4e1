// Package realsystemd tests the Debian package and its units under a real systemd, as
// process 1 of namespaces of its own. It wants root, a Linux whose cgroup v2 is mounted
// writable, and Debian's systemd, dbus and iproute2, so it is built with the tag systemd
// only: make systemd-test.
package realsystemd
