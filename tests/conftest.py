"""Options of the whole suite."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` accepts what the program says now as what it should say."""
    parser.addoption("--update-golden", action="store_true", help="rewrite expected texts with the present ones; read the diff before you commit")
    parser.addoption("--whole", action="store_true", help="every fault of tests/faults instead of a few of each kind; takes hours")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether expected texts are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def users_folder() -> Iterator[Path]:
    """An empty folder of a user whom permissions bind, as they do not bind root; the test runs as that user."""
    before = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        if before == 0:
            os.chown(name, 65534, 65534)
            os.seteuid(65534)
        yield Path(name)
        for path in Path(name).rglob("*"):  # opened from above, so that what is below can be seen and removed
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        os.seteuid(before)
