"""The agent's configuration: YAML with a line number for each complaint."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from accelwatch import checked_yaml
from accelwatch.checked_yaml import ConfigError, Lines
from accelwatch.pager import address

__all__ = ["Config", "ConfigError", "find", "load", "parse", "seconds"]

DEFAULT_PATH = Path("/etc/accelwatch/accelwatch.yml")
ENVIRONMENT_VARIABLE = "ACCELWATCH_CONFIG"

# Keys of the contract that a later version brings: anything but their default is refused, never ignored.
NOT_YET = (
    ("expect", "devices"),
    ("expect", "links"),
)

_LABEL = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]*$")
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(float):
    """Seconds, written as `500ms`, `5s`, `2m`, `24h` or a number of seconds."""


class Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every source has."""

    enabled: Literal["auto"] | bool = "auto"
    interval: Duration = Duration(10)
    timeout: Duration = Duration(10)


class Nvml(Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`library`: path of libnvidia-ml.so.1."""

    library: str | None = None
    interval: Duration = Duration(1)
    # An Xid 119 blocks a call for 6 s on 550 and 45 s on 525 (reference/nvidia.md section 3): what takes longer
    # than 5 s is a sick driver.
    timeout: Duration = Duration(5)


class NpuSmi(Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`command`: path of npu-smi. `sysfs`: where the kernel shows PCI devices; else its own place, on a host."""

    command: str | None = None
    sysfs: str | None = None


class HccnTool(Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`command`: path of hccn_tool."""

    command: str | None = None


class KernelLog(Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`path`: /dev/kmsg, or a FIFO or file of such records. `interval`: how often the follower is looked after."""

    path: str = "/dev/kmsg"
    interval: Duration = Duration(5)


class HcclLog(Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`paths`: glob patterns of plog files and training logs; `**` stands for folders of any depth."""

    paths: tuple[str, ...] = ()
    interval: Duration = Duration(2)


class Rdma(Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`sysfs`: where the kernel shows RDMA devices."""

    sysfs: str = "/sys/class/infiniband"
    interval: Duration = Duration(5)


class Processes(Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`proc`: the process file system."""

    proc: str = "/proc"
    interval: Duration = Duration(5)


class Sources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One section per source, by its name."""

    nvml: Nvml = Nvml()
    npu_smi: NpuSmi = NpuSmi()
    hccn_tool: HccnTool = HccnTool()
    kernel_log: KernelLog = KernelLog()
    hccl_log: HcclLog = HcclLog()
    rdma: Rdma = Rdma()
    processes: Processes = Processes()


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many devices and links the node has; else learned."""

    devices: int | None = None
    links: int | None = None


class BasicAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who the agent is to an Alertmanager; the password stands in a file of its own."""

    username: str
    password_file: str


class Alertmanager(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the fast path posts to. `runbooks`, `min_run_devices`: as given to `rules export`; the first is what
    runbook links begin with, the second how many devices, over all nodes, a run needs to be worth a page. `dashboards`:
    the Grafana that has them, likewise.
    `prometheus`: the address that a page's `accelwatch why` line asks.
    """

    urls: tuple[str, ...] = ()
    basic_auth: BasicAuth | None = None
    runbooks: str = "runbooks"
    dashboards: str | None = None
    min_run_devices: int = 8
    prometheus: str | None = None


class RemediationHook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A command for hardware faults that end runs: an absolute path and its arguments, no shell; empty: none.

    Unless `dry_run: false` is said, what would be run is only told. No second one on this node within `min_interval`;
    after `max_per_hour` none for an hour, or until an operator says so. `drills`: for drills too.
    """

    command: tuple[str, ...] = ()
    dry_run: bool = True
    timeout: Duration = Duration(60)
    min_interval: Duration = Duration(60)
    max_per_hour: int = 3
    drills: bool = False


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. `node` is filled with the host name where it is not given."""

    node: str | None = None
    listen: str = "0.0.0.0:9817"
    web_config: str | None = None
    state_dir: str = "/var/lib/accelwatch"
    sources: Sources = Sources()
    expect: Expect = Expect()
    alertmanager: Alertmanager = Alertmanager()
    remediation: RemediationHook = RemediationHook()
    labels: dict[str, str] = {}

    @property
    def node_name(self) -> str:
        """The name of this node: as configured, else the host name."""
        return self.node or socket.gethostname()

    @property
    def digest(self) -> str:
        """Twelve hex digits for `config_hash` that differ where nodes are configured differently.

        A node's own name and its labels (rack, …) differ by nature, and stand beside it on `agent_info`.
        """
        shared = msgspec.structs.replace(self, node=None, labels={})
        return hashlib.sha256(msgspec.json.encode(shared, enc_hook=float, order="sorted")).hexdigest()[:12]


def find(option: str | None) -> Path | None:
    """The file to read: `--config`, else `ACCELWATCH_CONFIG`, else the installed one where it exists, else none."""
    named = option or os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_PATH if DEFAULT_PATH.exists() else None


def load(path: Path | None) -> Config:
    """Reads and checks a file; `None` gives the defaults. Raises `ConfigError`."""
    if path is None:
        return Config()
    return parse(checked_yaml.read(path), str(path))


def parse(text: str, name: str) -> Config:
    """Checks the text of a file called `name`. Raises `ConfigError`."""
    config, lines = checked_yaml.convert(text, name, Config, _decode)
    _check(config, lines)
    return config


def seconds(value: object) -> float:
    """A duration as it is written. Raises `ValueError` for anything else."""
    result: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            result = float(value)
    elif isinstance(value, str) and (match := _DURATION.match(value.strip())):
        result = float(match[1]) * _UNIT_SECONDS[match[2]]
    if result is None or not 0.05 <= result <= 7 * 86400:
        raise ValueError(f"Expected a duration from 50ms to 7d such as `500ms`, `5s`, `2m`, `24h`, got `{value}`")
    return result


def _decode(wanted: type, value: Any) -> Any:
    if wanted is not Duration:
        raise NotImplementedError(wanted)  # msgspec's word for a type that is not the hook's
    return Duration(seconds(value))


def _check_hccl_log(section: HcclLog, refuse: Callable[[str, str], None]) -> None:
    if section.enabled is True and not section.paths:
        refuse("sources.hccl_log.enabled", "Expected `paths` beside it: glob patterns of plog files and training logs")
    for number, pattern in enumerate(section.paths):
        if not pattern.startswith("/"):
            refuse(f"sources.hccl_log.paths[{number}]", f"Expected an absolute glob pattern, got `{pattern}`")


def _check_alertmanager(section: Alertmanager, refuse: Callable[[str, str], None]) -> None:
    for number, url in enumerate(section.urls):
        try:
            address.parse(url)
        except ValueError as error:
            refuse(f"alertmanager.urls[{number}]", str(error)[:1].upper() + str(error)[1:])
    if section.min_run_devices < 1:
        refuse("alertmanager.min_run_devices", f"Expected 1 or more devices, got {section.min_run_devices}")
    for name, asked, example in (
        ("prometheus", section.prometheus, "http://prometheus.example:9090"),
        ("dashboards", section.dashboards, "https://grafana.example"),
    ):
        if asked is not None and not re.fullmatch(r"https?://[!-~]+", asked):
            refuse(f"alertmanager.{name}", f"Expected a URL such as `{example}`, got `{asked}`")
    auth = section.basic_auth
    if auth is not None and not Path(auth.password_file).is_absolute():
        path = "alertmanager.basic_auth.password_file"
        refuse(path, f"Expected an absolute path of a file with the password, got `{auth.password_file}`")


def _check_remediation(hook: RemediationHook, refuse: Callable[[str, str], None]) -> None:
    if hook.command and not Path(hook.command[0]).is_absolute():
        refuse("remediation.command[0]", f"Expected the absolute path of a program, got `{hook.command[0]}`")
    if any("\0" in word for word in hook.command):
        refuse("remediation.command", "Expected words without a zero byte")
    if not 1 <= hook.max_per_hour <= 60:
        refuse("remediation.max_per_hour", f"Expected 1 to 60 commands, got {hook.max_per_hour}")
    if hook.timeout > 600:
        refuse("remediation.timeout", f"Expected up to 10m, got {hook.timeout:g} s: the next fault's command waits")
    if not hook.command and hook != RemediationHook():
        refuse("remediation", "Expected `command` beside it: a list of an absolute path and its arguments")


def _check(config: Config, lines: Lines) -> None:
    """What types alone do not say."""

    def refuse(path: str, message: str) -> None:
        raise lines.error(path, message)

    for keys in NOT_YET:
        value: Any = config
        for key in keys:
            value = getattr(value, key)
        if value is not None and value != ():
            refuse(".".join(keys), "not implemented in this version; remove the key")
    _check_hccl_log(config.sources.hccl_log, refuse)
    _check_alertmanager(config.alertmanager, refuse)
    _check_remediation(config.remediation, refuse)
    if config.alertmanager.urls and not config.labels.get("cluster"):
        refuse(
            "alertmanager.urls",
            "Expected `labels: {cluster: ...}` beside it, as Prometheus names the cluster: by it Alertmanager knows "
            "the rule's alert of the same fault, and pages once",
        )
    host, _, port = config.listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        refuse("listen", f"Expected HOST:PORT such as `0.0.0.0:9817` or `[::]:9817`, got `{config.listen}`")
    if config.web_config is not None and not Path(config.web_config).is_absolute():
        refuse("web_config", f"Expected an absolute path of a web configuration file, got `{config.web_config}`")
    if not Path(config.state_dir).is_absolute():
        refuse("state_dir", f"Expected an absolute path, got `{config.state_dir}`")
    for label in config.labels:
        if not _LABEL.match(label) or label.startswith("__"):
            refuse(f"labels.{label}", "Expected a Prometheus label name: letters, digits and underscores")
        if label in ("version", "config_hash", "node"):
            refuse(f"labels.{label}", "this label is set by the agent itself; choose another name")
