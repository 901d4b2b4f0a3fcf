"""What the gateway's process is told."""

from schemas.base import Record


class GatewayJob(Record):
    """Limits of one key, and where the port is published. Keys and certificates are files that the process follows."""

    max_body_mib: int
    requests_per_minute: int
    burst: int
    """Requests."""

    requests_at_once: int

    loopback: bool
    """Whether only this machine reaches the published port."""

    bind: str
    """The host's address at which Compose publishes the port."""

    plain_http: bool
    """Beyond loopback without TLS, as somebody asked for by name."""

    workers: int
    """Processes of nginx."""
