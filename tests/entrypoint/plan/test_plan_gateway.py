"""What the gateway is told."""

import pytest

from entrypoint.plan import plan_gateway
from schemas.errors import UsageError
from schemas.load import load

SPEC = "spec: 1\nname: a\nmodel: {source: /models/m}\ndata: {train: [{source: /data/r.jsonl}]}\nmethod: {kind: sft}\n"


def test_defaults() -> None:
    job, decisions = plan_gateway(load(SPEC), 64, "127.0.0.1", False)
    assert (job.max_body_mib, job.requests_per_minute, job.burst, job.requests_at_once, job.workers) == (16, 6000, 600, 512, 4)
    assert job.loopback and not job.plain_http
    assert {d.field for d in decisions} == {"gateway.max_body_mib", "gateway.requests_per_minute", "gateway.burst", "gateway.requests_at_once"}
    assert all(d.why for d in decisions)


def test_burst_follows_the_rate_and_has_a_floor() -> None:
    assert plan_gateway(load(SPEC + "gateway: {requests_per_minute: 300}\n"), 1, "127.0.0.1", False)[0].burst == 30
    assert plan_gateway(load(SPEC + "gateway: {requests_per_minute: 6}\n"), 1, "127.0.0.1", False)[0].burst == 10
    assert plan_gateway(load(SPEC + "gateway: {requests_per_minute: 6, burst: 2}\n"), 1, "127.0.0.1", False)[0].burst == 2


@pytest.mark.parametrize(
    ("bind", "loopback"), [("127.0.0.1", True), ("127.8.0.1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False), ("10.0.0.7", False)]
)
def test_what_is_beyond_this_machine(bind: str, loopback: bool) -> None:
    assert plan_gateway(load(SPEC), 1, bind, False)[0].loopback is loopback


def test_an_address_that_is_none() -> None:
    with pytest.raises(UsageError, match="BIND is 'eth0'"):
        plan_gateway(load(SPEC), 1, "eth0", False)
