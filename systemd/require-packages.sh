#!/bin/sh
# Installs the named Debian packages that are not there yet; without apt or root, says what is missing.
# Starts no service: policy-rc.d answers "no" while packages are configured.
set -eu

missing=""
for package in "$@"; do
    case $package in
        prometheus) command=prometheus ;;
        prometheus-alertmanager) command=prometheus-alertmanager ;;
        prometheus-node-exporter) command=prometheus-node-exporter ;;
        gcc) command=cc ;;
        libc6-dev) [ -e /usr/include/stdio.h ] && continue; command=/nonexistent ;;
        *) command=$package ;;
    esac
    PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing:$missing" >&2
    echo "This is not Debian or Ubuntu: install them by your system's means, so that the commands are on the PATH." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "missing:$missing" >&2
    echo "Run as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

policy=/usr/sbin/policy-rc.d
made_policy=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    made_policy=yes
fi
trap '[ -z "$made_policy" ] || rm -f "$policy"' EXIT
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 - a list of package names
apt-get install -y -qq --no-install-recommends $missing >/dev/null
