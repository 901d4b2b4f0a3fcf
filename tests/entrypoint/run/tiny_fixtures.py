"""A tiny model, rows and the store that they are prepared in, made once for all tests that train."""

import shutil
from pathlib import Path

import pytest
from tiny import fetched_store, rows, write_model, write_rows


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Model folder and rows."""
    folder = tmp_path_factory.mktemp("sources")
    return write_model(folder / "model"), write_rows(folder / "rows.jsonl", rows(70))


@pytest.fixture(scope="session")
def prepared(sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with model, rows and shards; never trained in."""
    return fetched_store(tmp_path_factory.mktemp("store"), *sources)


@pytest.fixture(scope="module")
def fetched(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it for a module's own use."""
    return Path(shutil.copytree(prepared, tmp_path_factory.mktemp("module") / "store"))


@pytest.fixture(scope="session")
def few_sources(sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same model with fewer rows."""
    return sources[0], write_rows(tmp_path_factory.mktemp("few") / "rows.jsonl", rows())


@pytest.fixture(scope="session")
def few_prepared(few_sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `prepared`, of the fewer rows."""
    return fetched_store(tmp_path_factory.mktemp("store"), *few_sources)


@pytest.fixture
def store(few_prepared: Path, tmp_path: Path) -> Path:
    """A copy of it for one test: much that differs between tests is in no identity, so that they would find each other's artifacts."""
    return Path(shutil.copytree(few_prepared, tmp_path / "store"))
