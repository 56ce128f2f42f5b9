#!/bin/sh
# `make test-bundle`: the archive in dist/ installed in fresh Debian systems with an empty network and without
# python3-venv, one of x86_64 and one of aarch64. The one that is not this machine's runs under qemu's emulation of a
# processor: about ten minutes, most of them to make it. Where a system cannot be made this says why; status 0 if none
# failed.
# ROOTS=DIR keeps the systems for the next time. SUITE: Debian's release, if another than this host's.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)

skip() { echo "SKIPPED: $*"; exit 0; }
[ "$(id -u)" -eq 0 ] || skip "making a system needs root"
command -v apt-get >/dev/null 2>&1 || skip "systems are made by debootstrap, on Debian or Ubuntu"
"$source/systemd/require-packages.sh" debootstrap
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' | sed -n "s|^$release main ||p" | head -n 1)
[ -n "$mirror" ] || skip "apt's sources name no mirror of $release"
suite=${SUITE:-$release}

scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/accelwatch-bundle.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP
roots=${ROOTS:-$scratch}
mkdir -p "$roots"

# Makes the system of a Debian architecture at $roots; its words are in $scratch/log.
make_root() {
    root=$roots/$suite-$1
    if [ -e "$root/made" ]; then return 0; fi
    rm -rf "$root"
    if [ "$1" = "$(dpkg --print-architecture)" ]; then
        debootstrap --variant=minbase --include=python3 "$suite" "$root" "$mirror" > "$scratch/log" 2>&1 || return 1
    else
        debootstrap --arch="$1" --foreign --variant=minbase --include=python3 "$suite" "$root" "$mirror" \
            > "$scratch/log" 2>&1 || return 1
        chroot "$root" /debootstrap/debootstrap --second-stage >> "$scratch/log" 2>&1 || return 1
    fi
    touch "$root/made"
}

# The kernel must know who runs the other architecture's programs.
emulate() {
    PATH="$PATH:/usr/sbin:/sbin"
    command -v "qemu-$1-static" >/dev/null 2>&1 && command -v update-binfmts >/dev/null 2>&1 || {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-user-static binfmt-support \
            >/dev/null || return 1
    }
    [ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || return 1
    [ -e "/proc/sys/fs/binfmt_misc/qemu-$1" ] || update-binfmts --enable "qemu-$1"
}

failed=0
for pair in amd64:x86_64 arm64:aarch64; do
    debian=${pair%:*}
    machine=${pair#*:}
    if [ "$machine" != "$(uname -m)" ] && ! emulate "$machine"; then
        echo "SKIPPED $machine: this kernel runs no program of it, not even by qemu-user-static and binfmt_misc"
        continue
    fi
    echo "making a system of $suite for $machine"
    began=$(date +%s)
    if ! make_root "$debian"; then
        tail -n 5 "$scratch/log"
        echo "SKIPPED $machine: debootstrap failed"
        continue
    fi
    echo "made in $(($(date +%s) - began)) s"
    rm -rf "$root/archive" "$root/opt/accelwatch" "$root/etc/accelwatch"
    mkdir "$root/archive"
    cp "$source"/dist/accelwatch-*-offline.tar.gz "$source"/dist/accelwatch-*-offline.tar.gz.sha256 "$here/on_node.sh" \
        "$root/archive"
    began=$(date +%s)
    # shellcheck disable=SC2016 # the inner shell's
    if unshare --mount --net sh -eu -c '
        mount --make-rprivate /
        mount -t proc proc "$1/proc"
        mount --rbind /dev "$1/dev"
        echo "in it: $(chroot "$1" uname -m), $(chroot "$1" python3 -V), $(chroot "$1" python3 -c "import ensurepip" \
            2>/dev/null && echo with || echo without) python3-venv"
        exec chroot "$1" /archive/on_node.sh' sh "$root" > "$scratch/answer"
    then
        head -n 1 "$scratch/answer"
        devices=$(grep -c '"health": "ok"' "$scratch/answer" || true)
        [ "$devices" -eq 2 ] || { echo "FAILED $machine: $devices of 2 devices are well"; cat "$scratch/answer"; failed=1; continue; }
        echo "ok  $machine: installed, and check answers for two simulated devices, in $(($(date +%s) - began)) s in all"
    else
        echo "FAILED $machine: status $?"
        failed=1
    fi
done
exit "$failed"
