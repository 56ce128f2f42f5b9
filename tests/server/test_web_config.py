"""The web configuration format: what is read, and that nothing of it is ignored."""

import shutil
import subprocess
from pathlib import Path

import pytest

from accelwatch.commands import config as config_command
from accelwatch.server import access, web_config
from accelwatch.server.web_config import ConfigError, parse

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
IDENTITY = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"

FULL = f"""\
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP384]
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
    Strict-Transport-Security: max-age=31536000
basic_auth_users:
  prometheus: {HASH}
"""


def test_a_full_file_is_read_and_paths_begin_at_its_folder(pems: Path) -> None:
    """As exporter-toolkit resolves them; absolute ones stay."""
    config = parse(FULL, "web.yml", pems)
    assert config.tls_server_config is not None
    assert web_config.files_of(config) == (pems / "server.pem", pems / "server.key", pems / "ca.pem")
    assert config.basic_auth_users == {"prometheus": HASH}
    made = access.access_of(config, "web.yml")
    assert made.headers == b"X-Frame-Options: deny\r\nStrict-Transport-Security: max-age=31536000\r\n"
    absolute = parse(IDENTITY.replace("server.pem", "/etc/server.pem"), "web.yml", pems)
    assert web_config.files_of(absolute)[0] == Path("/etc/server.pem")


def test_promtool_takes_the_same_file(pems: Path) -> None:
    """The format is Prometheus's own."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    (pems / "full.yml").write_text(FULL)
    subprocess.run(["promtool", "check", "web-config", str(pems / "full.yml")], check=True, capture_output=True)


def test_an_empty_file_asks_for_nothing() -> None:
    """Neither TLS nor users, as in the toolkit."""
    assert access.access_of(parse("", "w", Path("/")), "w") == access.OPEN


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tls_config: {}\n", "w:1: tls_config: unknown key; expected one of: tls_server_config"),
        ("tls_server_config:\n  cert: x\n  keyfile: y\n", "w:3: tls_server_config.keyfile: unknown key; expected one of"),
        ("tls_server_config: {}\n", "w:1: tls_server_config: Expected `cert_file` (or `cert`)"),
        ("tls_server_config:\n  cert_file: a\n", "w:1: tls_server_config: Expected `key_file`"),
        ("tls_server_config: {cert: a, cert_file: a, key: b}\n", "w:1: tls_server_config.cert: Expected one of"),
        (IDENTITY + "  client_auth_type: Please\n", "w:4: tls_server_config.client_auth_type: Invalid enum value"),
        (IDENTITY + "  client_auth_type: RequestClientCert\n", "w:4: tls_server_config.client_auth_type: Python's ssl"),
        (IDENTITY + "  client_auth_type: RequireAnyClientCert\n", "w:4: tls_server_config.client_auth_type: Python's ssl"),
        (IDENTITY + "  client_auth_type: RequireClientCert\n", "w:4: tls_server_config.client_auth_type: Python's ssl"),
        (
            IDENTITY + "  client_auth_type: RequireAndVerifyClientCert\n",
            "w:4: tls_server_config.client_auth_type: Expected `client_ca_file`",
        ),
        (IDENTITY + "  client_ca_file: ca.pem\n", "w:4: tls_server_config.client_ca_file: Expected `client_auth_type`"),
        (
            IDENTITY + "  client_ca_file: c\n  client_auth_type: VerifyClientCertIfGiven\n  client_allowed_sans: [a]\n",
            "w:6: tls_server_config.client_allowed_sans: Expected `client_auth_type: RequireAndVerifyClientCert`",
        ),
        (IDENTITY + "  min_version: TLS10\n", "w:4: tls_server_config.min_version: OpenSSL 3 speaks"),
        (IDENTITY + "  max_version: SSL3\n", "w:4: tls_server_config.max_version: Invalid enum value"),
        (
            IDENTITY + "  min_version: TLS13\n  max_version: TLS12\n",
            "w:5: tls_server_config.max_version: Expected at least",
        ),
        (
            IDENTITY + "  cipher_suites:\n    - TLS_RSA_WITH_RC4_128_SHA\n",
            "w:5: tls_server_config.cipher_suites[0]: unknown suite",
        ),
        (IDENTITY + "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", "w:4: tls_server_config.cipher_suites: Expected a suite of"),
        (IDENTITY + "  curve_preferences: [CurveP224]\n", "w:4: tls_server_config.curve_preferences[0]: unknown curve"),
        (
            IDENTITY + "  curve_preferences: [X25519, CurveP256]\n",
            "w:4: tls_server_config.curve_preferences: Python's ssl module takes one curve",
        ),
        ("http_server_config: {http2: true}\n", "w:1: http_server_config.http2: HTTP/2 is not spoken here"),
        ("http_server_config: {headers: {Server: x}}\n", "w:1: http_server_config.headers.Server: this header cannot be"),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}\n",
            "w:1: http_server_config.headers.X-Frame-Options: Expected one of: deny",
        ),
        (
            'http_server_config: {headers: {X-XSS-Protection: "1\\r\\nSet-Cookie: a"}}\n',
            "w:1: http_server_config.headers.X-XSS-Protection: Expected one line",
        ),
        ("rate_limit: {burst: 1}\n", "w:1: rate_limit: not implemented in this version"),
        ("basic_auth_users:\n  a:b: x\n", "w:2: basic_auth_users.a:b: Expected a user's name"),
        ("basic_auth_users:\n", "w:1: basic_auth_users: Expected a mapping"),
    ],
)  # fmt: skip
def test_what_is_wrong_or_cannot_be_done_is_told_with_its_line(text: str, complaint: str) -> None:
    """Nobody believes in a protection that is not there."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "w", Path("/"))
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize("secret", ["geheim", "$2y$10$short", "$2y$31$" + "a" * 53, "$2y$03$" + "a" * 53])
def test_a_bad_hash_is_not_repeated(secret: str) -> None:
    """A password that was written instead of its hash stays out of the log."""
    with pytest.raises(ConfigError) as caught:
        parse(f"basic_auth_users:\n  bob: '{secret}'\n", "w", Path("/"))
    assert str(caught.value).startswith("w:2: basic_auth_users.bob: Expected ")
    assert secret not in str(caught.value)


def test_config_check_reads_the_web_configuration_too(
    pems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the certificate that it names: what would not start is told before."""
    web, main = tmp_path / "web.yml", tmp_path / "main.yml"
    main.write_text(f"web_config: {web}\n")
    options = type("Options", (), {"file": str(main)})()
    web.write_text(f"tls_server_config: {{cert_file: {pems}/server.pem, key_file: {pems}/server2.key}}\n")
    assert config_command.run(options) == 1
    assert "cannot be used: key values mismatch" in capsys.readouterr().err
    web.write_text(f"tls_server_config: {{cert_file: {pems}/server.pem, key_file: {pems}/none.key}}\n")
    assert config_command.run(options) == 1
    assert f"tls_server_config.key_file: {pems}/none.key cannot be read" in capsys.readouterr().err
    web.write_text(f"tls_server_config: {{cert_file: {pems}/server.pem, key_file: {pems}/server.key}}\n")
    assert config_command.run(options) == 0


def test_an_encrypted_key_is_refused_and_asks_nobody(pems: Path) -> None:
    """A daemon has no terminal."""
    subprocess.run(
        ["openssl", "ec", "-in", "server.key", "-aes128", "-passout", "pass:geheim", "-out", "locked.key"],
        cwd=pems, check=True, capture_output=True,
    )  # fmt: skip
    config = parse(IDENTITY.replace("server.key", "locked.key"), "w", pems)
    with pytest.raises(ConfigError, match="the key is encrypted"):
        access.access_of(config, "w")
