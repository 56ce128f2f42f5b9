"""Questions to a Prometheus through its HTTP API, with a deadline and a bound on what it may answer.

https://prometheus.io/docs/prometheus/latest/querying/api/; whatever speaks it (Thanos, Mimir) serves too.
"""

from __future__ import annotations

import http.client
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

# One answer: 20,000 devices at 300 bytes a series make 6 MB.
ANSWER_LIMIT_BYTES = 64 << 20
# A person waits: a Prometheus that needs longer for one question is overloaded, and says so sooner than it answers.
QUESTION_SECONDS = 10.0
# So many questions at once: Prometheus itself answers 20 at a time (--query.max-concurrency).
AT_ONCE = 6
_CHUNK = 1 << 20
# Prometheus' words for a query over --query.max-samples or --query.timeout (promql/engine.go); Mimir's, for its limits.
_TOO_MUCH = (
    "too many samples",
    "query timed out",
    "exceeded maximum resolution",
    "err-mimir-max",
    "limit was exceeded",
)
_WORDS_LIMIT = 300


class PrometheusError(Exception):
    """Prometheus could not be asked: the message says which, what failed, and what to do."""


class PrometheusUnreachable(PrometheusError):
    """Nothing answers there, or not in time."""


class PrometheusRefused(PrometheusError):
    """It answered, but not with an answer to the question."""


class PrometheusOverwhelmed(PrometheusRefused):
    """The question is too large for it or for us: a shorter stretch of time may be answered."""


class Sample(msgspec.Struct, frozen=True):
    """One series of an instant query. Labels that are absent are empty, as Prometheus sees them."""

    labels: Mapping[str, str]
    value: float

    def __getitem__(self, label: str) -> str:
        return self.labels.get(label, "")


class Series(msgspec.Struct, frozen=True):
    """One series of a range query: values by their wall time."""

    labels: Mapping[str, str]
    values: Sequence[tuple[float, float]]

    def __getitem__(self, label: str) -> str:
        return self.labels.get(label, "")


class Prometheus:
    """`url`: its base, also below a path. Raises `ValueError` for what is none."""

    def __init__(self, url: str, seconds: float = QUESTION_SECONDS) -> None:
        self.url = _checked(url)
        self.warnings: set[str] = set()  # of all answers: above all that one is not whole
        self._seconds = seconds

    def ask(self, questions: Mapping[str, str], at: float) -> dict[str, list[Sample]]:
        """The answers to several questions at one moment, asked side by side. Raises `PrometheusError`."""
        with ThreadPoolExecutor(min(AT_ONCE, max(1, len(questions)))) as pool:
            answers = {name: pool.submit(self.query, question, at) for name, question in questions.items()}
            return {name: answer.result() for name, answer in answers.items()}

    def query(self, question: str, at: float) -> list[Sample]:
        """An instant query at wall time `at`. Values that are no number are left out. Raises `PrometheusError`."""
        data = self._get("query", [("query", question), ("time", f"{at:.3f}"), ("timeout", f"{self._seconds:g}s")])
        try:
            kind, result = data["resultType"], data["result"]
            if kind != "vector":
                raise PrometheusRefused(f"{self.url}: gave a {kind} for a vector: {question}")
            samples = [Sample(_labels(series["metric"]), float(series["value"][1])) for series in result]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise self._strange(error) from error
        return [sample for sample in samples if math.isfinite(sample.value)]

    def query_range(self, question: str, start: float, end: float, step: float) -> list[Series]:
        """At `start`, and every `step` seconds until `end`. Values that are no number are left out.

        Raises `PrometheusError`, `PrometheusOverwhelmed` where a shorter stretch may be answered.
        """
        span = [("start", f"{start:.3f}"), ("end", f"{end:.3f}"), ("step", f"{step:.3f}")]
        data = self._get("query_range", [("query", question), *span, ("timeout", f"{0.9 * self._seconds:g}s")])
        try:
            kind, result = data["resultType"], data["result"]
            if kind != "matrix":
                raise PrometheusRefused(f"{self.url}: gave a {kind} for a matrix: {question}")
            return [
                Series(
                    _labels(series["metric"]),
                    [(float(at), value) for at, text in series["values"] if math.isfinite(value := float(text))],
                )
                for series in result
            ]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise self._strange(error) from error

    def label_values(self, label: str, selectors: Sequence[str], start: float, end: float) -> list[str]:
        """Values that a label had in series of these selectors. Raises `PrometheusError`."""
        matches = [("match[]", selector) for selector in selectors]
        values = self._get(f"label/{label}/values", [*matches, ("start", f"{start:.3f}"), ("end", f"{end:.3f}")])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._strange("no list of texts")
        return values

    def _get(self, path: str, parameters: Sequence[tuple[str, str]]) -> Any:
        """`data` of the answer."""
        encoded = urllib.parse.urlencode(parameters)
        address = f"{self.url}/api/v1/{path}"
        # Long queries do not fit into a URL; label values take a GET only.
        request = (
            urllib.request.Request(address, encoded.encode())  # noqa: S310 - http or https, as checked
            if path in ("query", "query_range")
            else urllib.request.Request(f"{address}?{encoded}")  # noqa: S310
        )
        deadline = time.monotonic() + self._seconds
        try:
            with urllib.request.urlopen(request, timeout=self._seconds) as response:  # noqa: S310
                body = self._body(response, deadline)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            slow = isinstance(reason, TimeoutError)
            words = f"no answer within {self._seconds:g} s" if slow else getattr(reason, "strerror", None) or reason
            raise PrometheusUnreachable(
                f"{self.url}: {words}; is this the Prometheus that scrapes the agents, and can this host reach it?"
            ) from error
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:  # the latter: a thousand brackets
            raise self._strange(error) from error
        if not isinstance(answer, dict) or answer.get("status") != "success" or "data" not in answer:
            raise self._strange(answer.get("error", "no `data`") if isinstance(answer, dict) else "no object")
        if isinstance(warnings := answer.get("warnings"), list):
            self.warnings.update(str(warning)[:_WORDS_LIMIT] for warning in warnings)
        return answer["data"]

    def _body(self, response: Any, deadline: float) -> bytes:
        """A server that drips is cut off at the deadline, one that floods at the limit."""
        chunks, size = [], 0
        while chunk := response.read1(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > ANSWER_LIMIT_BYTES:
                raise PrometheusOverwhelmed(
                    f"{self.url}: an answer of more than {ANSWER_LIMIT_BYTES >> 20} MB; cut off"
                )
            if time.monotonic() > deadline:
                raise PrometheusUnreachable(f"{self.url}: no whole answer within {self._seconds:g} s")
        return b"".join(chunks)

    def _refused(self, error: urllib.error.HTTPError) -> PrometheusError:
        """Prometheus says why in a document of its own; a proxy before it in a page."""
        try:
            text = error.read(1 << 16)
        except (OSError, http.client.HTTPException):
            text = b""
        try:
            words = str(json.loads(text)["error"])
        except (ValueError, KeyError, TypeError, RecursionError):
            words = f"HTTP {error.code} {error.reason}; expected the base URL of a Prometheus"
        kind = PrometheusOverwhelmed if any(sign in words for sign in _TOO_MUCH) else PrometheusRefused
        return kind(f"{self.url}: {words[:_WORDS_LIMIT]}")

    def _strange(self, error: object) -> PrometheusRefused:
        return PrometheusRefused(
            f"{self.url}: its answer is not that of a Prometheus ({str(error)[:_WORDS_LIMIT]}); "
            "expected the base URL of one, such as http://prometheus.example:9090"
        )


def _labels(metric: Any) -> dict[str, str]:
    """Raises `TypeError` for anything but texts by name."""
    if not isinstance(metric, dict) or not all(isinstance(value, str) for value in metric.values()):
        raise TypeError("labels that are no texts by name")
    return metric


def quoted(text: str) -> str:
    """As a string of PromQL, with its quotes."""
    return json.dumps(text, ensure_ascii=False)


def selector(**labels: str) -> str:
    """Matchers such as `{run_id="4711",attempt="0"}`."""
    return "{" + ",".join(f"{label}={quoted(value)}" for label, value in labels.items()) + "}"


def _checked(url: str) -> str:
    expected = "expected the base URL of a Prometheus such as http://prometheus.example:9090"
    try:
        parts = urllib.parse.urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{expected}, got {url!r}: {error}") from None
    if "@" in parts.netloc:
        raise ValueError(f"{expected}; no user or password in it: other users of this host would see them")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or not url.isprintable():
        raise ValueError(f"{expected}, got {url!r}")
    return url.rstrip("/").removesuffix("/api/v1")
