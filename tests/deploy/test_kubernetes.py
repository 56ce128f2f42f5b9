"""Manifests: as the Kubernetes API's schema has them, and in step with agent, configuration and image."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from accelwatch import __version__, cli, config
from accelwatch.sources import npu_smi, privileged
from alerts.shipped_rules import needs_promtool

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
DAEMONSETS = ("nvidia", "ascend")
# The oldest and the newest that people run.
API = ("1.25", "1.28", "1.32")


def documents() -> list[dict[str, Any]]:
    return [one for path in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]


def daemonset(vendor: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / f"daemonset-{vendor}.yaml").read_text())
    return document


def pod(vendor: str) -> dict[str, Any]:
    spec: dict[str, Any] = daemonset(vendor)["spec"]["template"]["spec"]
    return spec


def mounts(vendor: str) -> dict[str, tuple[dict[str, Any], bool]]:
    """Volumes by where they are mounted; whether read-only."""
    volumes = {volume["name"]: volume for volume in pod(vendor)["volumes"]}
    (container,) = pod(vendor)["containers"]
    found = {
        one["mountPath"]: (volumes.pop(one["name"]), one.get("readOnly", False)) for one in container["volumeMounts"]
    }
    assert not volumes, "a volume that is mounted nowhere"
    return found


@pytest.mark.parametrize("version", API)
def test_the_schema_takes_all_of_it(version: str) -> None:
    kinds = []
    for document in documents():
        kubernetes_validate.validate(document, version, strict=True)
        kinds.append(document["kind"])
    assert kinds == ["Namespace", "ConfigMap", "DaemonSet", "DaemonSet"]


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [((), "hostPid", True), ((), "tolerations", "all"), (("containers", 0, "securityContext"), "privileged", "yes"),
     (("containers", 0), "comand", ["x"]), (("volumes", 0), "hostpath", {})],
)  # fmt: skip
def test_the_schema_refuses_what_is_wrong(where: tuple[Any, ...], key: str, value: Any) -> None:
    """Otherwise the test before would prove nothing."""
    document = copy.deepcopy(daemonset("nvidia"))
    place = document["spec"]["template"]["spec"]
    for step in where:
        place = place[step]
    place[key] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, API[-1], strict=True)


def configuration(vendor: str) -> config.Config:
    (data,) = (one["data"] for one in documents() if one["kind"] == "ConfigMap")
    assert set(data) == {f"{name}.yml" for name in DAEMONSETS}
    return config.parse(data[f"{vendor}.yml"], f"{vendor}.yml")


@pytest.mark.parametrize("vendor", DAEMONSETS)
def test_the_agent_takes_its_configuration(vendor: str) -> None:
    """A library that is named and not there were a source that fails: only where it is mounted."""
    library = configuration(vendor).sources.nvml.library
    assert (library is not None) == ("/host/lib" in mounts(vendor))
    assert library in (None, "/host/lib/libnvidia-ml.so.1")


@pytest.mark.parametrize("vendor", DAEMONSETS)
def test_a_pod_is_given_what_the_agent_reads_and_no_more(vendor: str) -> None:
    given = mounts(vendor)
    state = config.Config().state_dir
    writable = {path for path, (_, read_only) in given.items() if not read_only}
    assert writable == {str(state), "/run/lock", "/tmp"}
    drivers = {
        "nvidia": {"/host/lib"},
        "ascend": {"/usr/local/Ascend/driver", "/usr/local/bin/npu-smi", "/etc/ascend_install.info"},
    }
    assert set(given) == writable | drivers[vendor] | {"/etc/accelwatch", config.Config().sources.kernel_log.path}
    for path, (volume, _) in given.items():
        if "hostPath" in volume:
            assert volume["hostPath"]["type"], f"{path}: what is missing must not be made"
    spec = pod(vendor)
    assert spec["hostPID"] is spec["hostNetwork"] is True
    assert spec["automountServiceAccountToken"] is False
    assert spec["tolerations"] == [{"operator": "Exists"}]
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["resources"]["limits"] == {"memory": "256Mi"}  # as MemoryMax of the unit
    assert "MemoryMax=256M" in (ROOT / "systemd" / "accelwatch.service").read_text()


def test_vendor_tools_are_where_the_agent_looks() -> None:
    assert set(mounts("ascend")) & set(npu_smi.INSTALLED)
    assert all(path.startswith("/usr/local/Ascend/driver/") for path in privileged.HCCN_INSTALLED)


@pytest.mark.parametrize("vendor", DAEMONSETS)
def test_what_is_started_and_asked_exists(vendor: str) -> None:
    (container,) = pod(vendor)["containers"]
    assert container["image"].endswith(f"/accelwatch:{__version__}")
    option, file, command = container["args"]
    assert (option, command) == ("--config", "agent")
    assert command in cli.COMMANDS
    assert file == f"/etc/accelwatch/{vendor}.yml"
    (port,) = container["ports"]
    assert config.Config().listen.endswith(f":{port['containerPort']}")
    served = (ROOT / "README.md").read_text()
    for probe in ("livenessProbe", "readinessProbe"):
        assert f"`{container[probe]['httpGet']['path']}`" in served


def test_the_image_is_made_of_what_is_here() -> None:
    """No build here: no container engine. Each path that it copies exists, and all that the package needs is copied."""
    text = (ROOT / "deploy" / "Containerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert all((ROOT / path).exists() for path in copied)
    package = (ROOT / "pyproject.toml").read_text()
    forced = re.findall(r'^"((?:alerts|dashboards)/[^"]+)" =', package, re.MULTILINE)
    assert {path.partition("/")[0] for path in forced} | {"agent", "pyproject.toml", "README.md", "LICENSE"} <= set(
        copied
    )
    assert f"accelwatch:{__version__}" in text


@needs_promtool
def test_promtool_accepts_the_scrape_configuration(tmp_path: Path) -> None:
    """With other discovery: Debian's Prometheus is built without that of Kubernetes."""
    document = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (job,) = document["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["accelwatch"]}}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(document))
    shutil.copytree(ROOT / "alerts" / "rules", tmp_path / "accelwatch")
    done = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for vendor in DAEMONSETS:
        assert configuration(vendor).labels == {"cluster": job["relabel_configs"][-1]["replacement"]}
