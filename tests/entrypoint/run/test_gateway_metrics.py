"""What is counted of nginx's datagrams."""

import re
import socket
import time
from pathlib import Path

import pytest

from entrypoint.run import gateway_metrics
from entrypoint.run.gateway_metrics import Metrics

PREFIX = "<190>Nov 25 22:00:00 nginx: "


def test_requests_and_their_seconds() -> None:
    metrics = Metrics()
    metrics.add(PREFIX + "/v1/completions 200 key=alice 0.250 0.020")
    metrics.add(PREFIX + "/v1/completions 200 key=alice 4.000 -")
    metrics.add(PREFIX + "other 401 key= 0.000 -")
    metrics.ready, metrics.generation = 1, 7
    lines = metrics.text().splitlines()
    assert 'caisson_gateway_requests_total{endpoint="/v1/completions",status="200",key="alice"} 2' in lines
    assert 'caisson_gateway_requests_total{endpoint="other",status="401",key=""} 1' in lines
    assert 'caisson_gateway_request_seconds_bucket{endpoint="/v1/completions",le="0.25"} 1' in lines
    assert 'caisson_gateway_request_seconds_bucket{endpoint="/v1/completions",le="+Inf"} 2' in lines
    assert 'caisson_gateway_request_seconds_sum{endpoint="/v1/completions"} 4.250' in lines
    assert 'caisson_gateway_first_byte_seconds_count{endpoint="/v1/completions"} 1' in lines
    assert {"caisson_gateway_ready 1", "caisson_gateway_generation 7"} <= set(lines)


def test_what_is_cut_counts_nothing() -> None:
    metrics = Metrics()
    metrics.add("half a")
    assert not metrics.requests


def test_the_form_is_prometheus_own() -> None:
    metrics = Metrics()
    metrics.add(PREFIX + "other 404 key=a.b-c 1.5 -")
    for line in metrics.text().splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [0-9.e+-]+', line), line


def test_a_socket_that_a_killed_gateway_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_metrics, "PORT", 0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(str(tmp_path / gateway_metrics.SOCKET))
    metrics = Metrics()
    metrics.listen(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(b"nginx: other 200 key=a 0.1 -", str(tmp_path / gateway_metrics.SOCKET))
    end = time.monotonic() + 10
    while not metrics.requests:
        assert time.monotonic() < end
        time.sleep(0.01)
