"""Programs that answer, fail, hang and are not there."""

from pathlib import Path

import pytest

from entrypoint.probe import command
from schemas.errors import MachineError


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A `driver` of our own on the PATH."""

    def make(script: str) -> None:
        (tmp_path / "driver").write_text(script)
        (tmp_path / "driver").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_answers(driver) -> None:
    driver("#!/bin/sh\necho \" $1 \"\nprintf '\\377'\n")
    assert command.ask_driver("driver", "one") == "one \n\N{REPLACEMENT CHARACTER}"
    assert command.ask_driver("no-such-driver") is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\necho one >&2\necho two >&2\necho >&2\nexit 3\n", "`driver -x` failed: two"),
        ("#!/bin/sh\nexit 3\n", "`driver -x` failed: Command '('driver', '-x')' returned non-zero exit status 3."),
        ("#!/no/such/shell\n", "`driver -x` failed: [Errno 2] No such file or directory: 'driver'"),
        ("#!/bin/sh\nprintf '\\033[2Jbad' >&2; exit 1\n", "`driver -x` failed: [2Jbad"),
    ],
    ids=["words", "silent", "no program", "escape sequence"],
)
def test_failures_in_words(driver, script: str, said: str) -> None:
    driver(script)
    with pytest.raises(MachineError) as caught:
        command.ask_driver("driver", "-x")
    assert caught.value.what == said
    assert caught.value.fix and "CAISSON_ACCELERATOR=cpu" in caught.value.fix


def test_one_that_hangs(driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "SECONDS", 0.2)
    driver("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(MachineError, match=r"`driver` did not answer within 0\.2 s"):
        command.ask_driver("driver")


def test_printable() -> None:
    assert command.printable(" a\x1b[1m\nb ", 5) == "a[1mb"
