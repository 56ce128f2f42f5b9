#!/bin/sh
# Installs accelwatch on this node, or takes it away. Idempotent. Run as root from the source directory.
#
#   systemd/install.sh               venv under /opt/accelwatch, user accelwatch, units enabled and started
#   systemd/install.sh --no-start    the same without starting it
#   systemd/install.sh --uninstall   everything away but /etc/accelwatch and /var/lib/accelwatch
#   systemd/install.sh --uninstall --purge    those too
set -eu
umask 022 # the agent's user reads what root writes, whatever root's own habit is

PREFIX=/opt/accelwatch
CONFIG=/etc/accelwatch
STATE=/var/lib/accelwatch
UNITS=/etc/systemd/system
SOCKETS="accelwatch-events.socket accelwatch-helper.socket" # in this order: the first starts the helper at any exit
PYTHON=${PYTHON:-python3}
source=$(cd "$(dirname "$0")/.." && pwd)

start=yes
uninstall=""
purge=""
for option in "$@"; do
    case $option in
        --no-start) start="" ;;
        --uninstall) uninstall=yes ;;
        --purge) purge=yes ;;
        *) echo "unknown option $option; see the head of $0" >&2; exit 2 ;;
    esac
done
[ "$(id -u)" -eq 0 ] || { echo "run as root" >&2; exit 1; }

running() { [ -d /run/systemd/system ]; }

if [ -n "$uninstall" ]; then
    if running; then
        # One by one: systemctl disables and stops nothing if one is missing, as after an earlier version.
        for unit in accelwatch.service $SOCKETS accelwatch-helper.service accelwatch.slice; do
            systemctl disable "$unit" 2>/dev/null || true
            systemctl stop "$unit" 2>/dev/null || true
        done
    fi
    for unit in accelwatch.service accelwatch-helper.service accelwatch.slice $SOCKETS; do
        rm -rf "${UNITS:?}/$unit" "$UNITS/$unit.d" "$UNITS/multi-user.target.wants/$unit" "$UNITS/sockets.target.wants/$unit"
    done
    rm -rf "$PREFIX"
    rm -f /usr/local/bin/accelwatch
    if running; then
        systemctl daemon-reload
        systemctl reset-failed 'accelwatch*' 2>/dev/null || true
    fi
    # The locks of the vendors' tools lie where every user's accelwatch finds them.
    if [ -n "$purge" ]; then rm -rf "$CONFIG" "$STATE" /run/lock/accelwatch-*.lock; fi
    if id accelwatch >/dev/null 2>&1; then userdel accelwatch; fi
    if getent group accelwatch >/dev/null 2>&1; then groupdel accelwatch; fi
    echo "accelwatch is gone$([ -n "$purge" ] || echo "; $CONFIG and $STATE are kept")"
    exit 0
fi

wheels=$source/wheels # in the archive of `make bundle`: pip, accelwatch and all that it needs, so nothing is fetched
[ -d "$wheels" ] || wheels=""
modules="sys, venv$([ -n "$wheels" ] || echo ", ensurepip")" # pip comes along: Debian's python3-venv need not be there
"$PYTHON" -c "import $modules"'; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "needs Python 3.11 or later with venv (Debian, Ubuntu: apt-get install python3-venv); PYTHON=... names another" >&2
    exit 1
}
# Neither environment nor configuration of pip on this node has a say in what comes out of the archive.
from_wheels() {
    python=$1
    shift
    pip=$(echo "$wheels"/pip-*.whl)
    PIP_CONFIG_FILE=/dev/null "$python" "$pip/pip" --isolated install --quiet --disable-pip-version-check \
        --root-user-action ignore --no-index --find-links "$wheels" -c "$source/constraints.txt" "$@" \
        "$pip" "$wheels"/accelwatch-*.whl
}
if [ -n "$wheels" ]; then
    (cd "$source" && sha256sum --check --quiet --strict SHA256SUMS) || {
        echo "what was unpacked to $source is not what was packed: compare the archive with its .sha256, unpack it anew" >&2
        exit 1
    }
    # A rehearsal touches no Python of the system's (PEP 668), so it may be said to.
    from_wheels "$PYTHON" --dry-run --ignore-installed --break-system-packages || {
        echo "the wheels in $wheels do not fit this node's $("$PYTHON" -V) on $(uname -m), $(getconf GNU_LIBC_VERSION ||
            echo no glibc). They are for $(cat "$wheels/FOR"). Name such a Python: PYTHON=/path/to/python3 $0" >&2
        exit 1
    }
fi
getent group accelwatch >/dev/null || groupadd --system accelwatch
id accelwatch >/dev/null 2>&1 ||
    useradd --system --gid accelwatch --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin accelwatch

# Groups that own the device nodes on this host; absent ones are left out.
groups=""
for device in /dev/nvidia0 /dev/nvidiactl /dev/davinci0 /dev/davinci_manager; do
    [ -e "$device" ] || continue
    group=$(stat -c %G "$device")
    case " $groups root UNKNOWN " in *" $group "*) ;; *) groups="$groups $group" ;; esac
done
for group in HwHiAiUser video render; do
    getent group "$group" >/dev/null || continue
    case " $groups " in *" $group "*) ;; *) groups="$groups $group" ;; esac
done

mkdir -p "$PREFIX" "$CONFIG" "$UNITS/accelwatch.service.d" "$UNITS/accelwatch-helper.service.d"
# A venv whose Python has been upgraded away from under it is made anew.
"$PREFIX/venv/bin/python" -m pip --version >/dev/null 2>&1 ||
    "$PYTHON" -m venv --clear ${wheels:+--without-pip} "$PREFIX/venv"
if [ -n "$wheels" ]; then
    from_wheels "$PREFIX/venv/bin/python" --force-reinstall
else
    "$PREFIX/venv/bin/pip" install --quiet --disable-pip-version-check -c "$source/constraints.txt" --upgrade "$source"
fi
cp "$source/README.md" "$PREFIX/README.md"
ln -sf "$PREFIX/venv/bin/accelwatch" /usr/local/bin/accelwatch
[ -e "$CONFIG/accelwatch.yml" ] || install -m 0644 "$source/systemd/accelwatch.yml" "$CONFIG/accelwatch.yml"
for unit in accelwatch.service accelwatch-helper.service accelwatch.slice $SOCKETS; do
    install -m 0644 "$source/systemd/$unit" "$UNITS/$unit"
done
# Both: a root that may not pass over modes (CAP_DAC_OVERRIDE) opens /dev/davinci* (0660) by their group, too.
for unit in accelwatch.service accelwatch-helper.service; do
    printf '[Service]\nSupplementaryGroups=%s\n' "${groups# }" > "$UNITS/$unit.d/groups.conf"
done
"$PREFIX/venv/bin/accelwatch" config check "$CONFIG/accelwatch.yml"

# shellcheck disable=SC2086 # a list
if command -v systemctl >/dev/null 2>&1; then systemctl enable --quiet accelwatch.service $SOCKETS; fi # in an image, too
if ! running; then
    echo "accelwatch is installed; systemd does not run here, so it starts with the next boot"
    exit 0
fi
systemctl daemon-reload
if [ -z "$start" ]; then
    echo "accelwatch is installed and not started: systemctl start accelwatch"
    exit 0
fi
# The agent waits for no helper. A socket does not start below a running service that has it, and the helper alone does
# not stay stopped: all stop, then start.
for unit in $SOCKETS accelwatch-helper.service; do systemctl stop "$unit" 2>/dev/null || true; done
for socket in $SOCKETS; do
    systemctl start "$socket" || echo "$socket does not start here: see systemctl status $socket" >&2
done
systemctl restart accelwatch.service || {
    echo "accelwatch is installed but does not start; its own words:" >&2
    journalctl --unit accelwatch.service --lines 10 --no-pager >&2 || true
    exit 1
}
echo "accelwatch is installed and runs; on this node type: accelwatch check"
