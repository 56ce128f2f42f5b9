"""TLS as a client sees it: who comes in, by which protocol, and that nobody who stands in the door delays others."""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accelwatch.server import tls
from accelwatch.server.access import OPEN, Access, AccessFile, access_of
from accelwatch.server.http import CONNECTION_LIMIT, Response, Server
from accelwatch.server.web_config import ConfigError, parse

BODY = b"x" * 200_000
Address = tuple[str, int]
Start = Callable[[str], Address]


@pytest.fixture
def shut_out() -> list[str]:
    return []


@pytest.fixture
def server(shut_out: list[str]) -> Iterator[Server]:
    made = Server(
        {"/metrics": lambda _r: Response(200, "text/plain", BODY)},
        report=lambda _path, error: pytest.fail(str(error)),
        shut_out=lambda _address, why: shut_out.append(why),
    )
    yield made
    made.close()
    assert not made.alive


@pytest.fixture
def start(server: Server, pems: Path) -> Start:
    def started(more: str = "") -> Address:
        server.use(way_in(pems, more))
        address = server.listen("127.0.0.1:0")
        server.start()
        return address

    return started


def way_in(pems: Path, more: str = "", name: str = "server") -> Access:
    text = f"tls_server_config:\n  cert_file: {name}.pem\n  key_file: {name}.key\n{more}"
    return access_of(parse(text, "web.yml", pems), "web.yml")


def trusting(pems: Path, client: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=pems / "ca.pem")
    if client is not None:
        context.load_cert_chain(pems / f"{client}.pem", pems / f"{client}.key")
    return context


def get(address: Address, context: ssl.SSLContext, method: str = "GET") -> tuple[int, bytes]:
    client = http.client.HTTPSConnection(*address, timeout=5, context=context)
    try:
        client.request(method, "/metrics")
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def refused(address: Address, context: ssl.SSLContext) -> bool:
    try:
        return get(address, context)[0] != 200
    except (OSError, http.client.HTTPException):
        return True


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_page_is_served_over_tls_and_the_connection_kept(start: Start, server: Server, pems: Path) -> None:
    """As a scraper does it, 200 kB in many records."""
    address = start("")
    client = http.client.HTTPSConnection(*address, timeout=5, context=trusting(pems))
    for _ in range(3):
        client.request("GET", "/metrics")
        assert client.getresponse().read() == BODY
    assert server.connections == 1
    client.close()
    assert get(address, trusting(pems), "HEAD") == (200, b"")


def test_plain_http_is_told_that_this_is_https(start: Start) -> None:
    """The commonest mistake has a plain answer."""
    with socket.create_connection(start(""), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"this port speaks HTTPS" in client.recv(65536)


def test_versions_are_kept_to(start: Start, pems: Path) -> None:
    """A client that speaks only what is not allowed stays out."""
    address = start("  min_version: TLS13\n")
    old = trusting(pems)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert refused(address, old)
    assert not refused(address, trusting(pems))


@pytest.mark.parametrize(("prefer", "suite"), [("true", "AES128-GCM"), ("false", "AES256-GCM")])
def test_suites_are_those_of_the_list_in_its_order_or_the_clients(
    start: Start, pems: Path, prefer: str, suite: str
) -> None:
    """`prefer_server_cipher_suites` says whose order counts."""
    address = start(
        "  max_version: TLS12\n"
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n"
        f"  prefer_server_cipher_suites: {prefer}\n"
    )
    context = trusting(pems)
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305")
    with (
        socket.create_connection(address, timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        assert suite in str(client.cipher())
    context.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")
    assert refused(address, context)


def test_a_curve_is_kept_to(start: Start, pems: Path) -> None:
    """A client without it stays out."""
    address = start("  curve_preferences: [CurveP384]\n")
    context = trusting(pems)
    context.set_ecdh_curve("prime256v1")
    assert refused(address, context)
    context.set_ecdh_curve("secp384r1")
    assert not refused(address, context)


def test_a_required_certificate_is_required_and_verified(start: Start, pems: Path, shut_out: list[str]) -> None:
    """None, and one of another authority, stay out; the reason is told."""
    address = start("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n")
    assert refused(address, trusting(pems))
    assert refused(address, trusting(pems, "stranger"))
    assert not refused(address, trusting(pems, "client"))
    until(lambda: len(shut_out) == 2)
    assert shut_out[0] == "peer did not return a certificate"
    assert shut_out[1].startswith("certificate not accepted: ")


def test_a_certificate_may_be_left_out_but_not_be_wrong(start: Start, pems: Path) -> None:
    """VerifyClientCertIfGiven."""
    address = start("  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n")
    assert not refused(address, trusting(pems))
    assert not refused(address, trusting(pems, "client"))
    assert refused(address, trusting(pems, "stranger"))


@pytest.mark.parametrize(
    ("name", "comes_in"),
    [
        ("scraper.example", True),
        ("2001:db8::1", True),
        ("spiffe://site/prometheus", True),
        ("ops@example.org", True),
        ("example", False),
        ("client", False),
    ],
)
def test_names_of_clients_are_matched_exactly(start: Start, pems: Path, name: str, comes_in: bool) -> None:
    """Alternative names of every kind; the common name is none."""
    address = start(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
        f'  client_allowed_sans: [other, "{name}"]\n'
    )
    assert refused(address, trusting(pems, "client")) is not comes_in


def test_addresses_are_written_as_go_writes_them() -> None:
    """Python gives them in capitals and at full length."""
    names = (("IP Address", "2001:DB8:0:0:0:0:0:1\n"), ("IP Address", "0:0:0:0:0:FFFF:A00:1"), ("DNS", "A"))
    assert tls.subject_names({"subjectAltName": names}) == {"2001:db8::1", "10.0.0.1", "A"}


def test_certificates_may_stand_in_the_file_itself(server: Server, pems: Path) -> None:
    """`cert`, `key` and `client_ca`; nothing of them goes to a disk."""

    def inline(name: str) -> str:
        return "".join(f"    {line}\n" for line in (pems / name).read_text().splitlines())

    text = (
        f"tls_server_config:\n  cert: |\n{inline('server.pem')}  key: |\n{inline('server.key')}"
        f"  client_ca: |\n{inline('ca.pem')}  client_auth_type: RequireAndVerifyClientCert\n"
    )
    server.use(access_of(parse(text, "w", Path("/")), "w"))
    address = server.listen("127.0.0.1:0")
    server.start()
    assert not refused(address, trusting(pems, "client"))
    assert refused(address, trusting(pems))


def test_who_stands_in_the_door_delays_nobody_and_has_a_deadline(
    start: Start, server: Server, pems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent clients, half a greeting, a greeting and no more."""
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 1.5)
    address = start("")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        trusting(pems).wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    standing = [socket.create_connection(address) for _ in range(60)]
    for number, client in enumerate(standing):
        client.sendall((b"", hello[:40], hello)[number % 3])
    began = time.monotonic()
    for _ in range(5):
        assert get(address, trusting(pems))[0] == 200
    assert time.monotonic() - began < 5
    until(lambda: server.connections == 0)
    for client in standing:
        client.close()


def test_silent_clients_are_bounded_and_a_kept_connection_stays(start: Start, server: Server, pems: Path) -> None:
    """A flood in the door costs those in the door."""
    address = start("")
    kept = http.client.HTTPSConnection(*address, timeout=5, context=trusting(pems))
    kept.request("GET", "/metrics")
    assert kept.getresponse().read() == BODY
    own = kept.sock
    flood = [socket.create_connection(address) for _ in range(CONNECTION_LIMIT + 40)]
    assert get(address, trusting(pems))[0] == 200
    kept.request("GET", "/metrics")
    assert kept.getresponse().read() == BODY
    assert kept.sock is own
    assert server.connections <= CONNECTION_LIMIT
    kept.close()
    for client in flood:
        client.close()


def test_garbage_instead_of_a_greeting_ends_that_client_alone(start: Start, server: Server, pems: Path) -> None:
    """Whatever it is."""
    address = start("")
    for data in (b"\x16\x03\x01\xff\xff" + b"\x00" * 400, b"\x00" * 100, b"\x80\x2e\x01\x00\x02", b"SSH-2.0-x\r\n"):
        with socket.create_connection(address, timeout=5) as client:
            client.sendall(data)
            with contextlib.suppress(OSError):  # not connected: it has been ended already
                client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while client.recv(4096):
                    pass
    assert get(address, trusting(pems))[0] == 200
    until(lambda: server.connections == 0)


def test_connections_from_before_a_change_end(start: Start, server: Server, pems: Path) -> None:
    """Who has been shut out does not stay in by a connection that it keeps."""
    address = start("")
    kept = http.client.HTTPSConnection(*address, timeout=5, context=trusting(pems))
    kept.request("GET", "/metrics")
    kept.getresponse().read()
    assert kept.sock is not None
    server.use(way_in(pems, "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"))
    assert kept.sock.recv(1) == b""
    kept.close()
    assert refused(address, trusting(pems))
    server.use(OPEN)
    until(lambda: plain_answer(address).startswith(b"HTTP/1.1 200"))


def plain_answer(address: Address) -> bytes:
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        return client.recv(4096)


def test_changed_files_come_into_force_and_bad_ones_do_not(pems: Path, tmp_path: Path) -> None:
    """A certificate and its key are two files: what has changed is taken when it has stood still for one look."""
    web = tmp_path / "web.yml"

    def put(name: str, source: str) -> None:
        fresh = tmp_path / f"{name}.new"
        fresh.write_bytes((pems / source).read_bytes())
        fresh.rename(tmp_path / name)

    put("s.pem", "server.pem")
    put("s.key", "server.key")
    web.write_text("tls_server_config: {cert_file: s.pem, key_file: s.key}\n")
    used: list[Access] = []
    told: list[ConfigError | None] = []
    file = AccessFile(web, used.append, told.append)
    seen = file.look(())
    assert file.look(seen) == seen
    assert (used, told) == ([], [])
    put("s.pem", "server2.pem")
    seen = file.look(seen)
    put("s.key", "server2.key")
    seen = file.look(seen)
    assert used == []  # it still moves
    seen = file.look(seen)
    assert (len(used), told) == (1, [None])
    assert file.access is used[0]
    put("s.key", "server.key")
    for _ in range(3):
        seen = file.look(seen)
    assert len(used) == 1
    assert len(told) == 2
    assert "key values mismatch" in str(told[1])
    web.write_text("tls_server_config: {cert_file: late.pem, key_file: s.key}\n")
    for _ in range(3):
        seen = file.look(seen)
    assert "late.pem cannot be read" in str(told[2])
    put("late.pem", "server.pem")
    for _ in range(3):
        seen = file.look(seen)
    assert told[3:] == [None]
    web.write_text("tls_server_config: {cert_file: [}\n")
    for _ in range(3):
        seen = file.look(seen)
    assert "not valid YAML" in str(told[4])
    assert len(used) == 2
