"""The most memory a process has held."""

from entrypoint.run.peak import peak_bytes, restart_peak


def test_counts_from_where_it_is_told_to() -> None:
    restart_peak()
    before = peak_bytes()
    held = bytearray(200_000_000)
    held[::4096] = b"x" * len(held[::4096])
    grown = peak_bytes()
    assert grown - before > 150_000_000
    del held
    assert peak_bytes() > grown - 50_000_000, "what was held stays counted"
    restart_peak()
    assert peak_bytes() < grown - 100_000_000
