#!/bin/sh
# Runs `sh -c COMMAND` as root in a copy of this system that costs nothing and is gone at the end: an overlay over /, in
# mount and network namespaces of its own. FOLDER becomes /archive there.
#
#   unshare --mount --net tests/bundle/in_overlay.sh FOLDER COMMAND
set -eu

folder=$1
command=$2
mount --make-rprivate /
below=/mnt
mount -t tmpfs tmpfs "$below"
mkdir "$below/upper" "$below/work" "$below/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$below/upper,workdir=$below/work" "$below/root"
mount -t proc proc "$below/root/proc"
mount -t tmpfs tmpfs "$below/root/run" # no systemd runs in it
mount --rbind /dev "$below/root/dev"
rm -rf "$below/root/opt/accelwatch" "$below/root/etc/accelwatch"
mkdir "$below/root/archive"
mount --bind "$folder" "$below/root/archive"
exec chroot "$below/root" /bin/sh -c "$command"
