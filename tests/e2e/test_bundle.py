"""A bundle with a tiny image: made, damaged in every way that a medium or a person can, refused by name, and loaded."""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from entrypoint.bundle.make import _sign, make
from schemas.errors import UsageError
from schemas.load import load

pytestmark = pytest.mark.e2e
LOAD = Path(__file__).parents[2] / "entrypoint" / "bundle" / "load.sh"
SPEC = "spec: 1\nname: tiny\nmodel: {source: /models/m}\ndata: {train: [{source: /data/rows.jsonl}]}\nmethod: {kind: sft}\n"
SPEC += "plugins: {loss: '/data/code.py:loss'}\n"
PROJECT = """[project]
name = "caisson"
version = "0.1.0"
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[tool.setuptools]
packages = ["entrypoint"]
"""


def _key(folder: Path, name: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    return folder / name


class Site:
    """A checkout with a bundle made of it, and a target beside it."""

    def __init__(self, folder: Path):
        self.folder, self.root, self.to, self.bundle = folder, folder / "root", folder / "to", folder / "bundle"
        self.name = f"caisson-test/{uuid.uuid4().hex[:12]}:1"
        for path, text in {
            "compose.yaml": 'name: tiny\ninclude:\n  - path: ["compose/a.yaml"]\n    project_directory: .\n',
            "compose/a.yaml": f"services:\n  one: {{image: '{self.name}', command: [/x], network_mode: none}}\n",
            "models/m/weights": "w" * 5000,
            "data/rows.jsonl": "row\n" * 100,
            "data/code.py": "def loss(): pass\n",
            "spec.yaml": SPEC,
            "pyproject.toml": PROJECT,
            **dict.fromkeys(("LICENSE", "README.md", "CHANGELOG.md", "specs/a", "docs/a", "setup/a", "demo/a", "entrypoint/a", "schemas/a"), "x\n"),
        }.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        self.import_image(self.name.encode())
        self.key = _key(folder, "key")
        self.signers = folder / "signers"
        self.signers.write_text(f"site@example.org {(folder / 'key.pub').read_text()}")
        self.make(self.bundle)
        self.forget()

    def import_image(self, content: bytes) -> None:
        """An image with one file, under this site's name."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("name")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        self.id = subprocess.run(["docker", "import", "-", self.name], input=archive.getvalue(), capture_output=True, check=True).stdout.decode().strip()

    def pinned(self) -> str:
        """The image that Compose would run on the target."""
        argv = ["docker", "compose", "--project-directory", str(self.to), "config"]
        config = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return re.findall(r"image: (sha256:\w+)", config)[0]

    def make(self, bundle: Path, since: Path | None = None) -> int:
        return make(self.root / "spec.yaml", load((self.root / "spec.yaml").read_text()), self.root, bundle, self.key, 2048, since)

    def forget(self) -> None:
        subprocess.run(["docker", "rmi", "-f", self.id], capture_output=True)

    def has_image(self) -> bool:
        return subprocess.run(["docker", "image", "inspect", self.id], capture_output=True).returncode == 0

    def load(self, bundle: Path | None = None, signers: Path | None = None, more: Sequence[str] = ()) -> tuple[int, str]:
        argv = ["sh", str(LOAD), "--bundle", str(bundle or self.bundle), "--signers", str(signers or self.signers), "--to", str(self.to), "--yes", *more]
        done = subprocess.run(argv, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def parts(self) -> list[Path]:
        return sorted(path for path in (self.bundle / "parts").rglob("*") if path.is_file())


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path)
    yield found
    found.forget()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_every_damage_is_refused_by_name_and_changes_nothing(site):
    whole = site.folder / "whole"
    shutil.copytree(site.bundle, whole)
    listed = [*site.parts(), site.bundle / "load.sh"]

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-1])

    cases = [(p, how, word) for p in listed for how, word in ((_flip, "altered"), (cut, "truncated"), (Path.unlink, "missing"))]
    for path, damage, word in cases:
        before = path.read_bytes()
        damage(path)
        code, said = site.load()
        assert code == 4 and f"{path.relative_to(site.bundle)}: {word}" in said, (path, word, said)
        path.write_bytes(before)
    for name in ("manifest", "manifest.sig"):
        before = (site.bundle / name).read_bytes()
        _flip(site.bundle / name)
        code, said = site.load()
        assert code == 4 and ("refused: manifest.sig: " in said or "refused: manifest: altered" in said), said
        (site.bundle / name).write_bytes(before)
    assert len(cases) >= 30 and not site.to.exists() and not site.has_image()


def test_swapped_parts_are_named(site):
    one, two = [p for p in site.parts() if p.stat().st_size == 2048][:2]
    before = one.read_bytes(), two.read_bytes()
    if before[0] == before[1]:
        two = next(p for p in site.parts() if p.stat().st_size >= 2048 and p.read_bytes() != before[0])
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second), two.write_bytes(first)
    code, said = site.load()
    assert code == 4 and "swapped: it is" in said and str(one.relative_to(site.bundle)) in said and not site.to.exists()


def test_another_signer_is_refused(site):
    _key(site.folder, "other")
    other = site.folder / "others"
    other.write_text(f"x@example.org {(site.folder / 'other.pub').read_text()}")
    code, said = site.load(signers=other)
    assert code == 4 and "nobody in" in said and not site.to.exists()


def test_what_was_loaded_runs_by_its_id_goes_on_and_is_not_replaced_by_an_older_one(site):
    code, said = site.load()
    assert code == 0 and site.has_image(), said
    config = subprocess.run(["docker", "compose", "--project-directory", str(site.to), "config"], capture_output=True, text=True, check=True).stdout
    assert f"image: {site.id}" in config and "pull_policy: never" in config
    assert (site.to / "models/m/weights").read_text() == "w" * 5000
    (site.to / "data/rows.jsonl").unlink()  # as where a load was stopped
    site.forget()
    code, said = site.load()
    assert code == 0 and "rows.jsonl" in said and "weights" not in said and site.has_image()
    (site.root / "data/rows.jsonl").write_text("another\n")
    newer = site.folder / "newer"
    number = site.make(newer, since=site.bundle / "manifest")
    names = (newer / "manifest").read_text()
    assert "piece parts/layer" not in names and names.count("\npiece ") <= 6  # the row, provenance, source or lock, scan, licences
    assert site.load(newer)[0] == 0 and (site.to / "data/rows.jsonl").read_text() == "another\n"
    code, said = site.load()
    assert code == 4 and f"older than {number}" in said and (site.to / "data/rows.jsonl").read_text() == "another\n"


def test_a_difference_without_its_ground_is_refused(site):
    code, said = site.load()
    assert code == 0, said
    newer = site.folder / "newer"
    site.make(newer, since=site.bundle / "manifest")
    site.forget()
    shutil.rmtree(site.to)
    code, said = site.load(newer)
    assert code == 4 and "load bundle" in said and not site.to.exists()


def test_too_little_disk_is_refused_before_anything_is_copied(site):
    manifest = (site.bundle / "manifest").read_text()
    _sign(site.bundle, manifest.replace(" 5000 models/m/weights", f" {1 << 60} models/m/weights"), site.key)
    code, said = site.load()
    assert code == 3 and "too little disk" in said and not site.to.exists() and not site.has_image()


def test_a_signed_path_that_leaves_the_folder_is_refused(site):
    manifest = (site.bundle / "manifest").read_text()
    _sign(site.bundle, manifest.replace(" 5000 models/m/weights", " 5000 models/../../x"), site.key)
    code, said = site.load()
    assert code == 4 and "leaves the folder" in said and not site.to.exists()


def test_a_finished_bundle_is_not_written_over(site):
    with pytest.raises(UsageError, match="finished"):
        site.make(site.bundle)


def test_a_second_engine_without_a_way_out_loads_it_and_nothing_leaves(site):
    script = Path(__file__).parents[2] / "bench" / "bundle" / "gap.sh"
    done = subprocess.run(["bash", str(script), str(site.bundle), str(site.signers), str(site.folder / "other")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.endswith("packets out 0, tried 0\n") and "control: " in done.stdout, done.stdout + done.stderr
    assert f"image {site.id.removeprefix('sha256:')}" in (site.folder / "other" / "load.log").read_text()
    assert not site.has_image()  # the first engine got nothing


def test_a_load_that_is_killed_goes_on_by_the_same_command(site):
    argv = ["sh", str(LOAD), "--bundle", str(site.bundle), "--signers", str(site.signers), "--to", str(site.to), "--yes"]
    killed = 0
    for moment in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6):
        site.forget()
        shutil.rmtree(site.to, ignore_errors=True)
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(moment)
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
                killed += 1
        code, said = site.load()
        assert code == 0 and site.has_image(), (moment, said)
        assert (site.to / "models/m/weights").read_text() == "w" * 5000 and not list(site.to.rglob("*.unfinished")), moment
    assert killed >= 3


def test_an_upgrade_and_the_way_back_are_one_command_each_and_keep_what_was_made(site):
    assert site.load()[0] == 0
    first, old = site.id, int((site.to / ".loaded").read_text().split()[0])
    (site.to / "made-here").write_text("an artifact")
    site.import_image(b"the second version")
    (site.root / "specs/a").write_text("newer\n")
    newer = site.folder / "newer"
    time.sleep(1)  # a bundle's number is the second in which it was made
    site.make(newer)
    site.forget()
    assert site.load(newer)[0] == 0 and site.pinned() == site.id != first
    code, said = site.load()
    assert code == 4 and f"--back-to {old}" in said and site.pinned() == site.id  # by mistake: refused, and how to mean it
    code, said = site.load(more=["--back-to", str(old + 1)])
    assert code == 4 and site.pinned() == site.id
    code, said = site.load(more=["--back-to", str(old)])
    assert code == 0 and site.pinned() == first and (site.to / "specs/a").read_text() == "x\n", said
    assert (site.to / "made-here").read_text() == "an artifact" and site.has_image()  # the newer image is still there
    assert site.load(newer)[0] == 0 and site.pinned() == site.id
    subprocess.run(["docker", "rmi", "-f", first], capture_output=True)


def test_a_bundle_that_is_killed_again_and_again_is_the_one_that_was_never_stopped(site):
    code = "import sys; from pathlib import Path as P; from entrypoint.bundle.make import make; from schemas.load import load; a = [*map(P, sys.argv[1:])]"
    code += "; make(a[0] / 'spec.yaml', load((a[0] / 'spec.yaml').read_text()), a[0], a[1], a[2], 2048, None)"
    assert site.load()[0] == 0  # so that the image is there again, by the same id
    again = site.folder / "again"
    argv = [sys.executable, "-c", code, str(site.root), str(again), str(site.key)]
    killed = 0
    for moment in (0.6, 1.2, 1.8, 2.2, 2.6, None):
        with subprocess.Popen(argv, cwd=LOAD.parents[2], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(moment)
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
                killed += 1
        if (again / "manifest").exists():
            break
    whole, resumed = ([line for line in (folder / "manifest").read_text().splitlines() if not line.startswith("number ")] for folder in (site.bundle, again))
    assert killed >= 2 and whole == resumed
