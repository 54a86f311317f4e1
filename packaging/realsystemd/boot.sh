#!/bin/bash
# Makes the calling process the systemd of a machine of its own: called as process 1 of
# new namespaces, with an empty folder. The machine's files are this one's, under a layer
# that is forgotten; of its services none is enabled.
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
root=$1/root
mkdir "$1/upper" "$1/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
	touch "$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ip link set lo up

rm -rf "$root/etc/systemd/system" "$root/etc/edge" "$root/var/lib/edge" "$root/var/log/journal"
mkdir "$root/etc/systemd/system"
# What the files of this machine would have started without being enabled.
for unit in getty.target console-getty.service systemd-logind.service systemd-timesyncd.service; do
	ln -s /dev/null "$root/etc/systemd/system/$unit"
done
cd "$root"
mkdir oldroot
pivot_root . oldroot
umount -l /oldroot
exec env -i container=edge-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target
