"""The configuration without anything that could be a secret."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

import msgspec
import yaml

from accelwatch.config import Config

LEFT_OUT = "(left out)"
# Also of keys that a later version brings. The path of a file with a secret is none.
_SECRET = re.compile(r"(?i)pass|secret|token|credential|authorization|user|(^|_)key$")
_PLAIN = re.compile(r"(?i)_file$")


def without_secrets(config: Config) -> str:
    """YAML of the configuration in force, defaults included; comments of the file are not in it."""
    plain = msgspec.to_builtins(config, enc_hook=float)
    return yaml.safe_dump(_cleaned(plain), sort_keys=False, allow_unicode=True)


def _cleaned(value: Any, key: str = "") -> Any:
    if _SECRET.search(key) and not _PLAIN.search(key) and not isinstance(value, dict | list | tuple):
        return LEFT_OUT if value not in (None, "") else value
    if isinstance(value, dict):
        return {name: _cleaned(of, str(name)) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(of, key) for of in value]
    if isinstance(value, str) and "://" in value:
        return _address(value)
    return float(value) if isinstance(value, float) else value


def _address(url: str) -> str:
    """Scheme, host and port: a path may be a webhook's secret."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    more = f"/{LEFT_OUT}" if parts.path.strip("/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{host}{more}"
