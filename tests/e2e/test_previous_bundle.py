"""A bundle that an earlier commit made: loaded by today's script, replaced by a bundle of today, and gone back to."""

import subprocess
import tarfile
from pathlib import Path

import pytest
from test_bundle import Site

pytestmark = pytest.mark.e2e
MADE = Path(__file__).parents[1] / "previous" / "made-by-982a4ae.tar.gz"
NUMBER = "1700000000"


def test_upgrade_from_it_and_the_way_back(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with tarfile.open(MADE) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    old, manifest = tmp_path / "old/bundle", (tmp_path / "old/bundle/manifest").read_text()
    image = "sha256:" + next(line.split()[1] for line in manifest.splitlines() if line.startswith("image "))
    site = Site(tmp_path)
    try:
        with site.signers.open("a") as signers:
            signers.write((tmp_path / "old/signers").read_text())
        code, said = site.load(old)
        assert code == 0 and site.pinned() == image, said
        (site.to / "made-here").write_text("an artifact")
        code, said = site.load()
        assert code == 0 and site.pinned() == site.id != image, said
        code, said = site.load(old)
        assert code == 4 and f"--back-to {NUMBER}" in said and site.pinned() == site.id
        code, said = site.load(old, more=["--back-to", NUMBER])
        assert code == 0 and site.pinned() == image and (site.to / "made-here").read_text() == "an artifact", said
        # and the script that the older bundle brought reads a bundle of today
        argv = ["sh", str(old / "load.sh"), "--bundle", str(site.bundle), "--signers", str(site.signers), "--to", str(site.to), "--yes"]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0 and site.pinned() == site.id, done.stderr
    finally:
        subprocess.run(["docker", "rmi", "-f", image], capture_output=True)
        site.forget()
