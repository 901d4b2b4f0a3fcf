"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` accepts what the program says now as what it should say."""
    parser.addoption("--update-golden", action="store_true", help="rewrite expected texts with the present ones; read the diff before you commit")
    parser.addoption("--whole", action="store_true", help="every fault of tests/faults instead of a few of each kind; takes hours")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether expected texts are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))
