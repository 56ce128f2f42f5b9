"""The configuration file."""

from pathlib import Path

from accelwatch import config
from accelwatch.config import ConfigError

EXAMPLE = Path(__file__).parents[3] / "systemd" / "accelwatch.yml"


def seeds() -> list[bytes]:
    example = EXAMPLE.read_text()
    return [
        example.encode(),
        "\n".join(
            line.removeprefix("# ") for line in example.splitlines() if ": " in line or line.endswith(":")
        ).encode(),
        b"sources:\n  nvml: {interval: 500ms, timeout: 2}\n  hccl_log: {paths: ['/a/**/*.log'], enabled: true}\n",
        b"labels: {cluster: c}\nalertmanager: {urls: ['http://a:9093'], basic_auth: {username: u, password_file: /p}}\n",
        b"a: &a [x, *a]\n? [b]\n: 2024-13-45\nc: !!binary eA==\nd: 0o9\n<<: *a\n",
    ]


def one(data: bytes) -> None:
    try:
        loaded = config.parse(data.decode("utf-8", "replace"), "x.yml")
    except ConfigError as error:
        told = str(error)
    else:
        told = f"x.yml {loaded.digest}"
    assert told.startswith("x.yml")
