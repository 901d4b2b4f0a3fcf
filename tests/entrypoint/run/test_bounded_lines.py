"""Lines of at most so many bytes."""

import io

import pytest

from entrypoint.run.bounded_lines import bounded_lines


@pytest.fixture(autouse=True)
def ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entrypoint.run.bounded_lines.LINE_BYTES", 10)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a\n\nb", [b"a\n", b"\n", b"b"]),
        (b"123456789\nb", [b"123456789\n", b"b"]),
        (b"1234567890\nb", [None, b"b"]),
        (b"x" * 3_000_000 + b"\nb\n", [None, b"b\n"]),
        (b"a\n" + b"x" * 50, [b"a\n", None]),
    ],
)
def test_bytes(content: bytes, lines: list[bytes | None]) -> None:
    assert list(bounded_lines(io.BytesIO(content))) == lines


def test_texts_end_at_any_break() -> None:
    assert list(bounded_lines(io.StringIO("ä\r" + "x" * 50 + "\rb\r\n", newline=""))) == ["ä\r", None, "b\r\n"]
