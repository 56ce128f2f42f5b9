"""Who may do what on a booted system: nothing the agent, little its helper, and together they read what they must."""

from __future__ import annotations

import os
import pathlib
import pwd
import signal
import stat
import subprocess

from machine import asked, devices, get, kernel_says, members, process, run, say, show, until

HELPER = "accelwatch-helper.service"
# A container has no kernel log. The agent asks for /dev/kmsg, which systemd's own parts write to, and its helper opens
# this FIFO instead.
KERNEL_LOG = "/run/kernel-log"
OTHER_LOG = pathlib.Path(f"/run/systemd/system/{HELPER}.d/other-log.conf")
# linux/capability.h: CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYSLOG.
HELPERS_OWN = (2, 12, 19, 34)
NOBODY = 65534
JOB = "471147"


def has_a_kernel_log() -> None:
    os.mknod("/dev/kmsg", stat.S_IFCHR | 0o600, os.makedev(1, 3))  # as /dev/null
    os.mkfifo(KERNEL_LOG, 0o600)
    OTHER_LOG.parent.mkdir(parents=True, exist_ok=True)
    started = show("ExecStart", HELPER).split("argv[]=", 1)[1].split(" ;", 1)[0]
    OTHER_LOG.write_text(f"[Service]\nExecStart=\nExecStart={started} --kernel-log {KERNEL_LOG}\n")
    run("systemctl", "daemon-reload")


def the_agent_may_nothing() -> None:
    """Neither it nor its workers; the helper has what its unit gives it, and no network."""
    for pid in members():
        held = {name: process(pid, name) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs")}
        assert set(held.values()) == {"0" * 16, "1"}, (pid, held)
        assert process(pid, "Uid").split() == [str(pwd.getpwnam("accelwatch").pw_uid)] * 4
        assert process(pid, "Seccomp") == "2"
    helper = show("MainPID", HELPER)
    assert helper != "0", run("systemctl", "status", "--no-pager", HELPER)
    rights = int(process(helper, "CapEff"), 16)
    assert rights, "nspawn itself keeps CAP_SYSLOG back, the rest is there"
    assert not rights & ~sum(1 << number for number in HELPERS_OWN), process(helper, "CapEff")
    networks = {pid: os.readlink(f"/proc/{pid}/ns/net") for pid in ("1", show("MainPID"), helper)}
    assert networks["1"] == networks[show("MainPID")] != networks[helper], networks
    scores = []
    for unit in ("accelwatch.service", HELPER):
        said = run("systemd-analyze", "security", "--no-pager", "--threshold=20", unit)
        scores.append(f"{unit} {said.splitlines()[-1].split()[-3]}")
    say(
        f"no capability in {len(members())} processes of the agent, {rights.bit_count()} in its helper; exposure: {', '.join(scores)}"
    )


def both_read_what_they_must() -> None:
    """The kernel log and another user's environment: through the helper, since the agent may neither."""
    agent = show("MainPID")
    opened = [os.readlink(path) for path in pathlib.Path(f"/proc/{agent}/fd").iterdir()]
    assert KERNEL_LOG in opened, opened
    refused = subprocess.run(
        [
            "setpriv",
            f"--reuid={pwd.getpwnam('accelwatch').pw_uid}",
            "--clear-groups",
            "cat",
            f"/proc/{holder().pid}/environ",
        ],
        capture_output=True,
        check=False,
    )
    assert refused.returncode == 1, "the agent's user may not read it"
    traffic, link = asks_itself()
    took = until("the job's run", lambda: any(JOB in one["run_id"] for one in asked("runs")["runs"]), 40)
    device = next(one for one in asked("check")["devices"] if one["vendor"] == "nvidia" and one["device"] == "1")
    kernel_says(KERNEL_LOG, 900001, f"NVRM: Xid (PCI:{device['pci'][:-2]}): 79, GPU has fallen off the bus.")
    after = until("the fault", lambda: any(fault["code"] == "79" for fault in asked("faults")["faults"]), 10)
    say(f"asked by the agent's user, the helper reads storage traffic ({traffic}) and runs hccn_tool ({link})")
    say(f"through the helper: a job of another user by its environment after {took:.1f} s, an Xid after {after:.1f} s")


def asks_itself() -> list[str]:
    """What the helper answers to a program of the agent's user, of the holder's traffic and of a port."""
    tool = pathlib.Path("/usr/local/Ascend/driver/tools/hccn_tool")
    tool.parent.mkdir(parents=True, exist_ok=True)
    tool.write_bytes(pathlib.Path("/sim/as-1/hccn_tool").read_bytes())
    tool.chmod(0o755)
    program = f"""if True:
        import pathlib
        from accelwatch.privileged.remote import RemoteReads
        from accelwatch.sources.commands import ToolRunner
        from accelwatch.sources.privileged import LocalReads
        reads = RemoteReads(pathlib.Path("/run/accelwatch-helper.sock"), LocalReads(ToolRunner()), exit)
        print(*reads.traffic(pathlib.Path("/proc"), {holder().pid}))
        print(reads.hccn_tool(["{tool}", "-i", "0", "-link", "-g"], 20).stdout.strip())
    """
    user = pwd.getpwnam("accelwatch")
    done = subprocess.run(
        ["/opt/accelwatch/venv/bin/python", "-c", program],
        capture_output=True, text=True, check=False, user=user.pw_uid, group=user.pw_gid, extra_groups=[],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


_HOLDER: list[subprocess.Popen[bytes]] = []


def holder() -> subprocess.Popen[bytes]:
    """Another user's process of a Slurm job that has the first GPU open; its node is a file here."""
    if not _HOLDER:
        node = pathlib.Path("/dev/nvidia0")
        node.touch()
        program = "import time; file = open('/dev/nvidia0'); time.sleep(600)"
        environment = {"SLURM_JOB_ID": JOB, "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}
        _HOLDER.append(
            subprocess.Popen(["python3", "-c", program], env=environment, user=NOBODY, group=NOBODY, extra_groups=[])
        )
    return _HOLDER[0]


def does_without_its_helper_for_a_while() -> None:
    """Killed, it comes back, and the agent has not noticed more than that."""
    agent, old = show("MainPID"), show("MainPID", HELPER)
    os.kill(int(old), signal.SIGKILL)
    took = until("another helper", lambda: show("MainPID", HELPER) not in ("0", old), 20)
    until("an answer", lambda: 'accelwatch_source_up{source="processes"} 1' in get("/metrics"), 20)
    assert show("MainPID") == agent
    assert devices()
    say(f"its helper killed: there again after {took:.1f} s, the agent is the same process")
