"""The section `gateway` of a spec."""

from typing import Annotated

from pydantic import Field

from schemas.base import Auto, Section


class Gateway(Section):
    """The published port in front of the server."""

    max_body_mib: Annotated[int, Field(ge=1, le=1024)] = 16
    """Largest body of a request, MiB; above it the answer is 413."""

    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 6000
    """What one key may ask for in a minute, evenly spread; above it the answer is 429 with Retry-After."""

    burst: Auto[Annotated[int, Field(ge=1, le=1_000_000)]] = None
    """How many requests of one key may come at once beyond the even spread. auto: what six seconds allow, at least 10."""

    requests_at_once: Annotated[int, Field(ge=1, le=65_535)] = 512
    """Requests of one key that are answered at the same time; above it the answer is 429."""
