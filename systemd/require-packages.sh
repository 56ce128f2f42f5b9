#!/bin/sh
# Installs the named Debian packages that are not there yet; without apt or root, says what is missing.
# Starts no service, now or at the next boot: policy-rc.d answers "no" while packages are configured, and what came
# enabled is disabled. A package that was there before keeps its services as they are.
set -eu

missing=""
for package in "$@"; do
    case $package in
        gcc) command=cc ;;
        libc6-dev) [ -e /usr/include/stdio.h ] && continue; command=/nonexistent ;;
        systemd) command=systemd-analyze ;;
        systemd-container) command=systemd-nspawn ;;
        *) command=$package ;; # these bring a command of their own name
    esac
    PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing:$missing (by their Debian names)" >&2
    echo "This is not Debian or Ubuntu: install them by your system's means, so that the commands are on the PATH." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "missing:$missing" >&2
    echo "As root: $0$missing" >&2
    echo "That installs them by apt without starting or enabling their services; then type the command again." >&2
    exit 1
fi

policy=/usr/sbin/policy-rc.d
mark="# accelwatch: no service starts while packages are installed"
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" > "$policy"
    chmod 755 "$policy"
fi
# Only our own file is taken away, also one that a killed installation has left.
trap 'if grep -qsxF "$mark" "$policy"; then rm -f "$policy"; fi' EXIT
trap 'exit 130' INT TERM HUP
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 - a list of package names
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; }; then
    echo "apt-get could not install:$missing (its own words are above)" >&2
    exit 1
fi
# As `systemctl disable` does it; systemctl need not be there, and packaging scripts keep to it at later upgrades.
for package in $missing; do
    rm -f "/etc/systemd/system/multi-user.target.wants/$package.service"
done
