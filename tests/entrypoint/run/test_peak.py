"""The most memory a process has held."""

from entrypoint.run.peak import Peak, peak_bytes

SLACK = 50_000_000


def test_counts_from_where_it_is_told_to() -> None:
    first = Peak()
    before = first.since()
    held = bytearray(200_000_000)
    held[::4096] = b"x" * len(held[::4096])
    grown = peak_bytes()
    assert grown - before > 150_000_000
    del held
    assert first.since() > grown - SLACK, "what was held stays counted"
    second = Peak()
    assert second.since() < grown - 100_000_000
    assert second.whole() > grown - SLACK, "the whole step's is kept"
