#!/bin/sh
# `make test-systemd`: installs accelwatch with systemd/install.sh in a booted system of this host's own release, and
# looks at what systemd makes of it (inside.py). The system has no network: what pip needs is brought as wheels.
# Where no system can be booted this says why, and ends with status 0. ROOT=DIR keeps the system for the next time.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
boot_seconds=600

skip() { echo "SKIPPED: $*"; exit 0; }
[ "$(id -u)" -eq 0 ] || skip "booting a system needs root"
command -v apt-get >/dev/null 2>&1 || skip "it is made by debootstrap, on Debian or Ubuntu"
"$source/systemd/require-packages.sh" debootstrap systemd-container gcc libc6-dev
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' | sed -n "s|^$release main ||p" | head -n 1)
[ -n "$mirror" ] || skip "apt's sources name no mirror of $release"

scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/accelwatch-systemd.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP
root=${ROOT:-$scratch/root}
if [ ! -e "$root/etc/debian_version" ]; then
    echo "making a system of $release below $root"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,python3,python3-venv "$release" "$root" "$mirror" \
        > "$scratch/debootstrap.log" 2>&1 || { tail -n 5 "$scratch/debootstrap.log"; skip "debootstrap failed"; }
fi

# What a clone holds, without this machine's own traces in it.
rm -rf "$root/src" "$root/wheels" "$root/root/.cache"
mkdir -p "$root/src" "$root/root/.cache"
(cd "$source" && tar -cf - --exclude=__pycache__ \
    agent alerts dashboards systemd README.md CHANGELOG.md LICENSE constraints.txt pyproject.toml) | tar -xf - -C "$root/src"
# The last one whose agent had the privileges itself, where this clone has its history.
previous=75b0160dd4
rm -rf "$root/previous"
if git -C "$source" cat-file -e "$previous^{commit}" 2>/dev/null; then
    mkdir "$root/previous"
    git -C "$source" archive "$previous" \
        agent alerts dashboards systemd README.md CHANGELOG.md LICENSE constraints.txt pyproject.toml | tar -xf - -C "$root/previous"
fi
"$source/.venv/bin/pip" wheel -qq --disable-pip-version-check --wheel-dir "$root/wheels" \
    -c "$source/constraints.txt" "$source" 'hatchling>=1.27'
rm -f "$root"/wheels/accelwatch-*
# The simulated NVML is compiled here, from that copy: a node has no compiler.
XDG_CACHE_HOME="$root/root/.cache" PYTHONPATH="$root/src/agent" PYTHONDONTWRITEBYTECODE=1 "$source/.venv/bin/python" -c '
import pathlib, sys
from accelwatch.simulator import nvml_library
nvml_library.install(pathlib.Path(sys.argv[1]))' "$scratch"

install -m 0644 "$here/inside.py" "$here/machine.py" "$here/privileges.py" "$root"
rm -f "$root/report" "$root/status"
cat > "$root/etc/systemd/system/inside.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels HOME=/root PYTHONDONTWRITEBYTECODE=1
ExecStart=/bin/sh -c 'python3 /inside.py > /report 2>&1; echo $? > /status'
ExecStopPost=/bin/systemctl poweroff --no-block
[Install]
WantedBy=default.target
UNIT
mkdir -p "$root/etc/systemd/system/default.target.wants"
ln -sf ../inside.service "$root/etc/systemd/system/default.target.wants/inside.service"
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout -s KILL "$boot_seconds" systemd-nspawn --boot -D "$root" --register=no \
    --keep-unit --console=pipe --private-network < /dev/null > "$scratch/console" 2>&1 || true
if [ ! -e "$root/report" ]; then
    tail -n 5 "$scratch/console"
    skip "the system did not boot here"
fi
cat "$root/report"
if [ ! -e "$root/status" ]; then
    echo "FAILED: the test did not end within $boot_seconds s"
    exit 1
fi
exit "$(cat "$root/status")"
