"""What the gateway enforces: limits of a key, and no plain HTTP beyond this machine."""

import ipaddress

from schemas.errors import UsageError
from schemas.gateway_job import GatewayJob
from schemas.plan import Decision
from schemas.spec import Spec

BURST_SECONDS = 6
LEAST_BURST = 10
MOST_WORKERS = 4
"""One passes thousands of requests a second on; each has its own connections to the engine."""


def plan_gateway(spec: Spec, cores: int, bind: str, plain_http: bool) -> tuple[GatewayJob, tuple[Decision, ...]]:
    """What the gateway is told, and why; `bind` is the host's address of the port. Raises UsageError for one that is no address."""
    asked = spec.gateway
    try:
        address = ipaddress.ip_address(bind.strip("[]"))
    except ValueError:
        raise UsageError(f"BIND is {bind!r}, which is no IP address", "set BIND=127.0.0.1, or the address of the interface that clients reach") from None
    burst = asked.burst or max(LEAST_BURST, asked.requests_per_minute * BURST_SECONDS // 60)
    job = GatewayJob(
        max_body_mib=asked.max_body_mib,
        requests_per_minute=asked.requests_per_minute,
        burst=burst,
        requests_at_once=asked.requests_at_once,
        loopback=address.is_loopback,
        bind=bind,
        plain_http=plain_http,
        workers=min(cores, MOST_WORKERS),
    )
    decisions = (
        _limit("gateway.max_body_mib", asked.max_body_mib, "a conversation of millions of tokens; above it 413"),
        _limit("gateway.requests_per_minute", asked.requests_per_minute, "of one key, evenly spread; above it 429"),
        _limit("gateway.burst", burst, "set in the spec" if asked.burst else f"what {BURST_SECONDS} seconds allow, at least {LEAST_BURST}"),
        _limit("gateway.requests_at_once", asked.requests_at_once, "of one key; above it 429"),
    )
    return job, decisions


def _limit(field: str, value: int, why: str) -> Decision:
    return Decision(field=field, value=f"{value:,}", why=why)
