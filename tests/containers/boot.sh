#!/usr/bin/env bash
# Becomes the Docker engine of the machine in FOLDER, as process 1 of namespaces of its own: its
# containers, mounts, bridges and firewall rules are seen by nobody else, and end with it.
#
#   unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child boot.sh FOLDER
set -euo pipefail
machine=$1

mount --make-rprivate /
mount --bind "$machine" "$machine"
mount -t proc proc "$machine/proc"
mount -t sysfs sysfs "$machine/sys"
# Nothing here is limited, so that no controller is needed, and version 2 can be had everywhere.
mount -t cgroup2 cgroup2 "$machine/sys/fs/cgroup"
mount --rbind /dev "$machine/dev"
mount -t tmpfs tmpfs "$machine/run"
mount -t tmpfs tmpfs "$machine/tmp"
ip link set lo up
# With chroot, a command in a running container would see the files of this machine instead.
mkdir -p "$machine/before"
cd "$machine"
pivot_root . before
umount --lazy before
exec dockerd --log-level=warn
