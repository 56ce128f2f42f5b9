"""The client of Prometheus' HTTP API: every way in which an answer may fail to come says so, in bounded time."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from accelwatch import prometheus_api
from accelwatch.prometheus_api import (
    Prometheus,
    PrometheusOverwhelmed,
    PrometheusRefused,
    PrometheusUnreachable,
    selector,
)

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with contextlib.suppress(OSError):
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/below"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def body(text: str, status: int = 200) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(text.encode())

    return answer


def vector(*values: tuple[dict[str, str], str]) -> str:
    result = [{"metric": labels, "value": [1.0, value]} for labels, value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def test_a_vector_is_read_and_what_is_no_number_left_out() -> None:
    """Below a path, as behind a proxy; a label that is absent is empty."""
    with answering(body(vector(({"node": "n1"}, "1.5"), ({"node": "n2"}, "NaN"), ({}, "+Inf")))) as url:
        (sample,) = Prometheus(url + "/").query("up", 1.0)
    assert (sample["node"], sample["rack"], sample.value) == ("n1", "", 1.5)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (body("<html>proxy</html>"), "not that of a Prometheus"),
        (body("[]"), "not that of a Prometheus"),
        (body('{"status": "success", "data": {"resultType": "vector"}}'), "not that of a Prometheus"),
        (body('{"status": "success", "data": {"resultType": "matrix", "result": []}}'), "matrix"),
        (body('{"status": "error", "error": "query timed out"}', 503), "query timed out"),
        (body("<html>gone</html>", 404), "HTTP 404"),
    ],
)
def test_a_bad_answer_says_what_is_wrong(answer: Answer, expected: str) -> None:
    """With the address."""
    with answering(answer) as url, pytest.raises(PrometheusRefused, match=expected) as caught:
        Prometheus(url).query("up", 1.0)
    assert url in str(caught.value)


def test_nothing_listens() -> None:
    """The port is free."""
    with answering(body("")) as url:
        pass
    with pytest.raises(PrometheusUnreachable, match="Connection refused"):
        Prometheus(url).query("up", 1.0)


def test_a_server_that_says_nothing_or_drips_is_given_up() -> None:
    """Within the time for a question."""

    def silent(handler: http.server.BaseHTTPRequestHandler) -> None:
        time.sleep(1.0)

    def drips(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(20):
            handler.wfile.write(b" ")
            time.sleep(0.05)

    for answer in (silent, drips):
        with answering(answer) as url:
            began = time.monotonic()
            with pytest.raises(PrometheusUnreachable, match=r"within 0\.3 s"):
                Prometheus(url, seconds=0.3).query("up", 1.0)
            assert time.monotonic() - began < 0.9


def test_a_flood_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much comes."""
    monkeypatch.setattr(prometheus_api, "ANSWER_LIMIT_BYTES", 1 << 20)
    with answering(body("x" * (3 << 20))) as url, pytest.raises(PrometheusRefused, match="more than 1 MB"):
        Prometheus(url).query("up", 1.0)


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://p", "http://", "http://p:x", "http://u:secret@p:9090", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    """Before anything is sent; a password is not repeated."""
    with pytest.raises(ValueError, match="expected the base URL") as caught:
        Prometheus(url)
    assert "secret" not in str(caught.value)


def test_a_name_cannot_leave_its_quotes() -> None:
    """A run may be called anything."""
    assert selector(run_id='a"} or up{x="\\') == '{run_id="a\\"} or up{x=\\"\\\\"}'


def matrix(values: list[list[object]], **more: object) -> str:
    data = {"resultType": "matrix", "result": [{"metric": {"node": "n1"}, "values": values}]}
    return json.dumps({"status": "success", "data": data, **more})


def test_a_range_is_read_and_its_warnings_are_kept() -> None:
    """A Thanos that misses a store answers with what it has, and says so."""
    text = matrix([[60, "1.5"], [120, "NaN"], [180.5, "2"]], warnings=["partial response: store s1 is unavailable"])
    with answering(body(text)) as url:
        prometheus = Prometheus(url)
        (series,) = prometheus.query_range("up", 60.0, 180.0, 60.0)
    assert (series["node"], series.values) == ("n1", [(60.0, 1.5), (180.5, 2.0)])
    assert prometheus.warnings == {"partial response: store s1 is unavailable"}


@pytest.mark.parametrize(
    "text",
    [
        vector(({}, "1")),
        matrix([[60]]),
        matrix([["x", "1"]]),
        '{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {"a": 1}, "values": []}]}}',
    ],
)
def test_a_range_that_is_none(text: str) -> None:
    with answering(body(text)) as url, pytest.raises(PrometheusRefused):
        Prometheus(url).query_range("up", 60.0, 180.0, 60.0)


@pytest.mark.parametrize(
    "words",
    [
        "query processing would load too many samples into memory in query execution",
        "query timed out in expression evaluation",
        "the query exceeded the maximum number of chunks (limit: 2000000 chunks) (err-mimir-max-chunks-per-query)",
    ],
)
def test_a_question_that_is_too_large_is_told_apart(words: str) -> None:
    """It may be asked again over a shorter stretch."""
    text = json.dumps({"status": "error", "errorType": "execution", "error": words})
    with answering(body(text, 422)) as url, pytest.raises(PrometheusOverwhelmed, match=words[:30]):
        Prometheus(url).query_range("up", 60.0, 180.0, 60.0)
