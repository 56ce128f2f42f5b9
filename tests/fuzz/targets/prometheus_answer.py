"""What answers where a Prometheus should."""

import contextlib
import io
import math
import urllib.request
from unittest import mock

from accelwatch.prometheus_api import Prometheus, PrometheusError


def seeds() -> list[bytes]:
    return [
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"node":"n"},"value":[1.5,"1"]}]}}',
        b'{"status":"success","data":["a","b"]}',
        b'{"status":"error","errorType":"bad_data","error":"parse error"}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]},{"metric":[],"value":[1,"1"]}]}}',
        b"[" * 2000,
        b"<html>502</html>",
    ]


def one(data: bytes) -> None:
    prometheus = Prometheus("http://prometheus.example:9090")
    with mock.patch.object(
        urllib.request, "urlopen", side_effect=lambda *_a, **_k: io.BufferedReader(io.BytesIO(data))
    ):
        with contextlib.suppress(PrometheusError):
            for sample in prometheus.query("up", 1.0):
                assert math.isfinite(sample.value)
                assert isinstance(sample["node"], str)
        with contextlib.suppress(PrometheusError):
            prometheus.label_values("a", ["up"], 0.0, 1.0)
