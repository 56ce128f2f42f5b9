"""Authorities, servers and clients for tests of TLS, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

CLIENT_NAMES = "DNS:scraper.example,IP:2001:db8::1,URI:spiffe://site/prometheus,email:ops@example.org"


def make(folder: Path) -> Path:
    """`ca`, `other-ca`, and of the first `server`, `server2`, `client`, of the second `stranger`: `.pem` and `.key`."""
    for authority in ("ca", "other-ca"):
        _openssl(
            f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={authority} "
            f"-keyout {authority}.key -out {authority}.pem",
            folder,
        )
    server = "DNS:localhost,IP:127.0.0.1"
    for name, authority, names in (
        ("server", "ca", server),
        ("server2", "ca", server),
        ("client", "ca", CLIENT_NAMES),
        ("stranger", "other-ca", CLIENT_NAMES),
    ):
        (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        _openssl(
            f"req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} "
            f"-keyout {name}.key -out {name}.csr",
            folder,
        )
        _openssl(
            f"x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 2 "
            f"-extfile {name}.ext -out {name}.pem",
            folder,
        )
    return folder


def _openssl(line: str, folder: Path) -> None:
    subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
