"""One artifact of those that a result came from."""

from schemas.base import Record


class Link(Record):
    """A sealed artifact, by what its manifest says of it."""

    role: str
    """data, model, prepared, trained, merged or exported."""

    stage: str
    folder: str
    """Relative to the store."""

    identity: str
    content: str
    """Digest of its files."""

    finished_at: str = ""
    program: str = ""
    inputs: dict[str, str] = {}
    """Content digest of each of its own inputs, by role: what ties the chain together."""

    what: str = ""
    """In a few words: sources, rows, steps, form."""
