"""Users and passwords: who comes in, what it costs, and that it costs others nothing."""

import base64
import http.client
import threading
import time
from collections.abc import Iterator

import bcrypt
import pytest

from accelwatch.server.access import Access
from accelwatch.server.basic_auth import REFUSED_REMEMBERED, Users
from accelwatch.server.connection import parse_head
from accelwatch.server.http import Response, Server

HASHES = {"anna": bcrypt.hashpw(b"geheim", bcrypt.gensalt(4)).decode()}
Address = tuple[str, int]


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Counted(Users):
    """Counts the rounds of bcrypt, and notes what each was compared with."""

    def __init__(self) -> None:
        super().__init__(HASHES)
        self.rounds: list[bytes] = []
        real = self._check
        self.gate = threading.Event()
        self.gate.set()

        def check(password: bytes, hashed: bytes) -> bool:
            self.gate.wait(20)
            self.rounds.append(hashed)
            return real(password, hashed)

        self._check = check


def test_only_the_right_password_of_a_known_user_is_good() -> None:
    """Names and passwords are compared whole."""
    users = Users(HASHES)
    assert users.verify(basic("anna", "geheim"))
    for name, password in (("anna", "Geheim"), ("Anna", "geheim"), ("anna", ""), ("", "geheim"), ("bert", "geheim")):
        assert not users.verify(basic(name, password))


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !!!", "Bearer abc", "Basic " + base64.b64encode(b"anna").decode()]
)
def test_what_is_no_basic_header_is_refused_at_once(header: str) -> None:
    """Without a round of bcrypt."""
    users = Counted()
    assert users.known(header) is False
    assert not users.verify(header)
    assert users.rounds == []


def test_a_verdict_is_remembered_and_a_scrape_costs_no_round() -> None:
    """Good and refused ones alike; the scheme's case and spaces do not matter."""
    users = Counted()
    good, bad = basic("anna", "geheim"), basic("anna", "falsch")
    assert users.known(good) is None
    assert users.verify(good)
    assert not users.verify(bad)
    assert (users.known(good), users.known(bad)) == (True, False)
    assert users.known(good.replace("Basic ", "bAsIc   ")) is True
    assert len(users.rounds) == 2


def test_an_unknown_user_costs_a_round_of_the_same_cost() -> None:
    """Time tells nobody which users there are."""
    users = Counted()
    users.verify(basic("bert", "x"))
    users.verify(basic("anna", "x"))
    decoy, known = users.rounds
    assert decoy[:7] == known[:7]
    assert len(decoy) == len(known) == 60


def test_refused_credentials_are_remembered_within_bounds() -> None:
    """A guesser fills no memory, and pushes out nobody who is good."""
    users = Users(HASHES)
    good = basic("anna", "geheim")
    users.verify(good)
    users._check = lambda _password, _hashed: False
    for number in range(REFUSED_REMEMBERED + 50):
        users.verify(basic("anna", str(number)))
    assert len(users._refused) == REFUSED_REMEMBERED
    assert users.known(good) is True


def test_a_long_password_is_read_as_bcrypt_reads_it() -> None:
    """72 bytes, as htpasswd and Go do."""
    long = "p" * 80
    users = Users({"anna": bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4)).decode()})
    assert users.verify(basic("anna", long))
    assert not users.verify(basic("anna", long[:71]))


def test_credentials_stand_in_no_text_of_a_request() -> None:
    """A request may come into a log; its credentials not."""
    secret = basic("anna", "geheim")
    request, _ = parse_head(f"GET /metrics HTTP/1.1\r\nAuthorization: {secret}".encode())
    assert request.authorization == secret
    assert secret.split()[1] not in f"{request!r} {request}"


@pytest.fixture
def served() -> Iterator[tuple[Server, Address, Counted]]:
    users = Counted()
    server = Server(
        {"/metrics": lambda _r: Response(200, "text/plain", b"page")},
        report=lambda _path, error: pytest.fail(str(error)),
    )
    server.use(Access(users=users, headers=b"X-Frame-Options: deny\r\n"))
    address = server.listen("127.0.0.1:0")
    server.start()
    yield server, address, users
    users.gate.set()
    server.close()
    assert not server.alive


def ask(address: Address, authorization: str | None, path: str = "/metrics") -> http.client.HTTPResponse:
    client = http.client.HTTPConnection(*address, timeout=20)
    client.request("GET", path, headers={} if authorization is None else {"Authorization": authorization})
    answer = client.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    client.close()
    return answer


def test_every_path_asks_for_a_password(served: tuple[Server, Address, Counted]) -> None:
    """Also one that is not there: nobody learns which are."""
    _, address, users = served
    for path in ("/metrics", "/nothing"):
        answer = ask(address, None, path)
        assert answer.status == 401
        assert answer.getheader("WWW-Authenticate", "").startswith("Basic realm=")
        assert answer.getheader("X-Frame-Options") == "deny"
    assert ask(address, basic("anna", "falsch")).status == 401
    for _ in range(5):
        assert ask(address, basic("anna", "geheim")).status == 200
    assert ask(address, basic("anna", "geheim"), "/nothing").status == 404
    assert len(users.rounds) == 2


def test_a_check_under_way_delays_nobody_who_is_known(served: tuple[Server, Address, Counted]) -> None:
    """Guessers wait for each other; a scraper does not wait for them."""
    server, address, users = served
    assert ask(address, basic("anna", "geheim")).status == 200
    users.gate.clear()
    guessers = [http.client.HTTPConnection(*address, timeout=20) for _ in range(20)]
    for number, guesser in enumerate(guessers):
        guesser.request("GET", "/metrics", headers={"Authorization": basic("anna", str(number))})
    guessers[0].close()  # one leaves before its verdict
    began = time.monotonic()
    for _ in range(20):
        assert ask(address, basic("anna", "geheim")).status == 200
    assert time.monotonic() - began < 5
    users.gate.set()
    assert [guesser.getresponse().status for guesser in guessers[1:]] == [401] * 19
    for guesser in guessers:
        guesser.close()
    assert server.alive


def test_requests_behind_one_that_waits_are_answered_in_order(served: tuple[Server, Address, Counted]) -> None:
    """Pipelined on one connection."""
    _, address, _ = served
    lines = [basic("anna", "geheim"), basic("anna", "falsch"), basic("anna", "geheim")]
    data = "".join(f"GET /metrics HTTP/1.1\r\nAuthorization: {line}\r\n\r\n" for line in lines).encode()
    client = http.client.HTTPConnection(*address, timeout=20)
    client.connect()
    client.sock.sendall(data)
    received = b""
    while received.count(b"HTTP/1.1 ") < 3 or not received.endswith(b"page"):
        chunk = client.sock.recv(65536)
        assert chunk
        received += chunk
    client.close()
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"401", b"200"]
