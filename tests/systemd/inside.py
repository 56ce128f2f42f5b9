"""Installs accelwatch on a booted system, and holds its units to what the README says of them. Run by run.sh, as root.

Standard library only: it runs before accelwatch is there and after it has gone.
"""

from __future__ import annotations

import os
import pathlib
import pwd
import signal
import subprocess
import time

import privileges
from machine import (
    DEVICES,
    asked,
    devices,
    episodes,
    get,
    installed,
    kernel_says,
    members,
    process,
    run,
    say,
    show,
    until,
    workers,
)  # fmt: skip

CONFIG = pathlib.Path("/etc/accelwatch/accelwatch.yml")
FASTER = pathlib.Path("/run/systemd/system/accelwatch.service.d/faster.conf")
HARDWARE = """\
sources:
  nvml: {library: /sim/nv-1/libnvidia-ml.so.1}
  npu_smi: {command: /sim/as-1/npu-smi, interval: 1s}
  hccn_tool: {command: /sim/as-1/hccn_tool, interval: 1s}
"""
INSTALLED = ("/etc", "/opt", "/usr")
EVERYWHERE = (*INSTALLED, "/var", "/run", "/tmp", "/root", "/home", "/srv")


def installs_and_starts() -> None:
    run("/src/systemd/install.sh")
    assert (show("Type"), show("ActiveState"), show("UnitFileState")) == ("notify", "active", "enabled")
    assert show("StatusText").startswith("serving on"), "READY came from the agent"
    assert get("/healthz") == "ok\n"
    user = pwd.getpwuid(os.stat(f"/proc/{show('MainPID')}").st_uid).pw_name
    assert user == "accelwatch", user
    say("installed: enabled, READY, answers on its port as its own user")


def watches_both_vendors() -> None:
    CONFIG.write_text(HARDWARE + "labels: {cluster: one}\n")
    run("systemctl", "reload", "accelwatch")
    took = until("four devices", devices, 30)
    assert workers(), "the NVML worker runs in the unit"
    checked = subprocess.run(["/usr/local/bin/accelwatch", "check"], capture_output=True, text=True, check=False)
    assert checked.stdout.count(" ok ") >= DEVICES, checked.stdout + checked.stderr
    say(f"reload takes a changed file: four devices of two vendors inside the unit's sandbox after {took:.1f} s")


def takes_what_the_version_before_left() -> None:
    """A fault of the older agent, which had its privileges itself, is the new one's, and no counter falls."""
    run("/src/systemd/install.sh", "--uninstall", "--purge")  # a journal of today is too new for it
    CONFIG.parent.mkdir()
    CONFIG.write_text(HARDWARE + "  kernel_log: {path: /sim/nv-1/kmsg}\n")
    os.chmod("/sim/nv-1/kmsg", 0o666)
    run("/previous/systemd/install.sh")
    until("four devices", devices, 40)
    assert int(process(show("MainPID"), "CapEff"), 16), "the older one has capabilities"
    device = next(one for one in asked("check")["devices"] if one["vendor"] == "nvidia")
    kernel_says("/sim/nv-1/kmsg", 900002, f"NVRM: Xid (PCI:{device['pci'][:-2]}): 48, DBE (double bit error)")
    until("the fault", lambda: any(fault["code"] == "48" for fault in asked("faults")["faults"]), 10)
    before, counted = asked("faults")["faults"], episodes()
    run("/src/systemd/install.sh")
    until("four devices", devices, 40)
    assert int(process(show("MainPID"), "CapEff"), 16) == 0
    after = {fault["id"]: fault for fault in asked("faults")["faults"]}
    for fault in before:
        assert after[fault["id"]]["first_seen"] == fault["first_seen"]
    assert episodes() >= counted > 0
    assert show("MainPID", privileges.HELPER) != "0"
    CONFIG.write_text(HARDWARE)
    run("systemctl", "restart", "accelwatch")
    until("four devices", devices, 40)
    say(
        f"upgraded from the version before: {len(before)} faults and {counted:g} counted episodes kept, no privilege kept"
    )


def keeps_the_old_file_against_a_bad_one() -> None:
    agent = show("MainPID")
    good = CONFIG.read_text()
    CONFIG.write_text("nonsense: true\n")
    run("systemctl", "reload", "accelwatch")
    until("the refusal", lambda: "accelwatch_config_last_reload_successful 0" in get("/metrics"), 5)
    assert devices()
    CONFIG.write_text(good.replace("cluster: one", "cluster: two"))
    run("systemctl", "reload", "accelwatch")
    until("the reload", lambda: 'cluster="two"' in get("/metrics"), 5)
    assert show("MainPID") == agent
    say("reload refuses a bad file and stays the same process")


def restarts_when_killed_or_hung() -> None:
    for number, result in ((signal.SIGKILL, "signal"), (signal.SIGSTOP, "watchdog")):
        FASTER.parent.mkdir(parents=True, exist_ok=True)
        FASTER.write_text("[Service]\nWatchdogSec=3\n")
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "accelwatch")
        until("four devices", devices, 30)
        old, restarts = members(), int(show("NRestarts"))
        os.kill(int(show("MainPID")), number)
        took = until("a restart", lambda: int(show("NRestarts")) == restarts + 1 and devices(), 40)  # noqa: B023
        assert not old & members(), "nothing of the old one is left"
        assert f"result '{result}'" in run("journalctl", "-u", "accelwatch", "--no-pager")
        say(f"{number.name}: serves again, with all four devices, after {took:.1f} s; its children went with it")
    FASTER.unlink()
    FASTER.parent.rmdir()
    run("systemctl", "daemon-reload")


def ends_in_five_seconds() -> None:
    run("systemctl", "restart", "accelwatch")
    until("four devices", devices, 30)
    old = members()
    assert len(old) >= 2, "the agent and its worker"
    began = time.monotonic()
    run("systemctl", "stop", "accelwatch")
    took = time.monotonic() - began
    assert took < 5, f"{took:.1f} s"
    assert (show("Result"), show("ActiveState")) == ("success", "inactive")
    left = [pid for pid in old if pathlib.Path(f"/proc/{pid}").exists()]
    assert not left, left
    say(f"SIGTERM: ended after {took:.1f} s with status 0, {len(old)} processes gone")


def installs_again() -> None:
    written, before = CONFIG.read_text(), installed(INSTALLED)
    run("/src/systemd/install.sh")
    assert CONFIG.read_text() == written, "an operator's configuration is kept"
    assert installed(INSTALLED) == before, installed(INSTALLED) ^ before
    until("four devices", devices, 30)
    say("installed again: configuration kept, the same files, running")


def goes_without_a_trace(users: set[str], before: set[str]) -> None:
    run("/src/systemd/install.sh", "--uninstall")
    assert CONFIG.exists()
    assert subprocess.run(["systemctl", "cat", "accelwatch"], capture_output=True, check=False).returncode
    run("rm", "-r", "/usr/local/Ascend")
    privileges.OTHER_LOG.unlink()
    privileges.OTHER_LOG.parent.rmdir()
    say("uninstalled: unit gone, configuration kept")
    run("/src/systemd/install.sh")
    run("/src/systemd/install.sh", "--uninstall", "--purge")
    run("/src/systemd/install.sh", "--uninstall", "--purge")
    left = installed(EVERYWHERE) - before
    assert not left, f"left after --purge: {sorted(left)}"
    assert {user.pw_name for user in pwd.getpwall()} == users
    failed = run("systemctl", "list-units", "--all", "--no-legend", "accelwatch*")
    assert not failed.strip(), failed
    say("uninstalled with --purge, twice: no file, no user, no unit is left")


def main() -> None:
    run("/src/systemd/install.sh", "--uninstall", "--purge")  # of a run before that did not come so far
    users, before = {user.pw_name for user in pwd.getpwall()}, installed(EVERYWHERE)
    installs_and_starts()
    # The simulated hardware lies outside /opt/accelwatch, so that it outlives what the tests do to that.
    run("rm", "-rf", "/sim", "/sim-venv")
    run("cp", "-a", "/opt/accelwatch/venv", "/sim-venv")
    hardware = subprocess.Popen(
        ["/sim-venv/bin/python", "-m", "accelwatch", "simulate", "node", "one-of-each", "--dir", "/sim"]
    )
    try:
        privileges.holder()
        privileges.has_a_kernel_log()
        until("the hardware", pathlib.Path("/sim/as-1/tools.sock").exists, 20)
        watches_both_vendors()
        privileges.the_agent_may_nothing()
        privileges.both_read_what_they_must()
        privileges.does_without_its_helper_for_a_while()
        keeps_the_old_file_against_a_bad_one()
        restarts_when_killed_or_hung()
        ends_in_five_seconds()
        installs_again()
        if pathlib.Path("/previous").exists():
            takes_what_the_version_before_left()
        else:
            print(
                "--  not tried: an upgrade from the version before, whose commit this clone does not have", flush=True
            )
        goes_without_a_trace(users, before)
    except BaseException:
        print(run("journalctl", "-u", "accelwatch*", "-n", "40", "--no-pager", "-o", "cat"))
        raise
    finally:
        for process_ in (hardware, privileges.holder()):
            process_.terminate()
            process_.wait(10)
        for path in ("/dev/nvidia0", "/dev/kmsg", privileges.KERNEL_LOG):
            pathlib.Path(path).unlink(missing_ok=True)
    print("passed", flush=True)


if __name__ == "__main__":
    main()
