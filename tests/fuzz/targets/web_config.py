"""The web configuration file."""

from pathlib import Path

from accelwatch.server.web_config import ConfigError, parse


def seeds() -> list[bytes]:
    return [
        b"tls_server_config:\n  cert_file: a\n  key_file: b\n  client_ca_file: c\n"
        b"  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [x, 'y']\n  min_version: TLS12\n"
        b"  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [X25519]\n",
        b"basic_auth_users:\n  anna: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG\n",
        b"basic_auth_users: {anna: VerySecretPassword, bert: 'VerySecretPassword'}\n",
        b"tls_server_config: {cert: a, key: VerySecretPassword}\n"
        b"http_server_config: {http2: false, headers: {X-Frame-Options: deny, X-XSS-Protection: '1'}}\n",
        b"rate_limit: {interval: 1s, burst: 3}\n",
    ]


def one(data: bytes) -> None:
    told = "w.yml"
    try:
        parse(data.decode("utf-8", "replace"), "w.yml", Path("/etc"))
    except ConfigError as error:
        told = str(error)
    assert told.startswith("w.yml")
