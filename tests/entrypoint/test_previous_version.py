"""A store that an earlier commit sealed: what is in it stays readable, can be served, and is checked byte for byte."""

import tarfile
from pathlib import Path

import pytest
from small_run import Caisson

from entrypoint.chain import read_spec
from entrypoint.migrate import migrate
from entrypoint.run.promotion import read_current
from entrypoint.run.seal import read_manifest
from entrypoint.run.store import Store

MADE = Path(__file__).parents[1] / "previous" / "made-by-982a4ae.tar.gz"
FOLDERS = ("models", "data", "n/prepared", "n/train", "n/exports")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    with tarfile.open(MADE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def artifacts(store: Store) -> list[str]:
    return [path.relative_to(store.root).as_posix() for name in FOLDERS for path in (store.root / name).iterdir()]


def test_every_manifest_is_read_and_every_sum_holds(made: Path) -> None:
    store = Store(made / "store")
    found = artifacts(store)
    assert len(found) == len(FOLDERS)
    manifests = [read_manifest(store.root / folder) for folder in found]
    assert [manifest.stage for manifest in manifests if manifest] == ["fetch", "fetch", "prepare", "train", "export"]
    assert not any(store.damage(folder) for folder in found)
    (store.root / found[-1] / "content").write_text("export y")
    assert store.damage(found[-1])


def test_its_export_is_listed_and_promoted_and_taken_back(made: Path, caisson: Caisson) -> None:
    store = Store(made / "store")
    export = next((store.root / "n/exports").iterdir()).name
    code, out, err = caisson("exports", made / "spec.yaml", "--store", store.root)
    assert code == 0 and export in out, err
    assert caisson("promote", made / "spec.yaml", export, "--store", store.root)[0] == 0
    current = read_current(store, "n")
    assert current and current.export == export


def test_its_spec_is_of_a_version_that_is_read_or_rewritten(made: Path) -> None:
    text = (made / "spec.yaml").read_text()
    (made / "now.yaml").write_text(migrate(text, "spec.yaml"))
    assert read_spec(made / "now.yaml").name == "n"
