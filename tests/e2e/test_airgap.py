"""The whole demo from a bundle of the real images, in an engine of its own behind a counter of packets: none leaves. Needs root; `make test-airgap`.

One epoch in larger batches, where specs/demo.yaml has three: what is tested is what leaves, and the answer is another test's.
"""

import os
import re
import shutil
import subprocess

import pytest
from project import ROOT

from entrypoint.bundle.make import make
from schemas.load import load

pytestmark = [
    pytest.mark.airgap,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not shutil.which("dockerd") or os.geteuid() != 0, reason="needs Docker and root"),
]
STAGES = ("fetch", "prepare", "train", "export", "evaluate", "demo")
"""`demo` serves and asks."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Output of the whole run."""
    folder = tmp_path_factory.mktemp("gap")
    text = (ROOT / "specs/demo.yaml").read_text()
    short = re.sub(r"^  batch_tokens: .*$", "  batch_tokens: 960", re.sub(r"^  epochs: .*$", "  epochs: 1", text, flags=re.M), flags=re.M)
    short = short[: short.index("\nevaluate:")]  # so short a training passes no gate
    assert short != text
    spec = folder / "spec.yaml"
    spec.write_text(short)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    (folder / "signers").write_text(f"site@example.org {(folder / 'key.pub').read_text()}")
    make(spec, load(short), ROOT, folder / "bundle", folder / "key", 4 << 30, None)
    argv = ["bash", str(ROOT / "bench/bundle/gap.sh"), str(folder / "bundle"), str(folder / "signers"), str(folder / "site"), *STAGES]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=3000)
    shutil.rmtree(folder / "bundle")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + (folder / "site" / "demo.log").read_text()


def test_the_counters_count(said: str) -> None:
    assert [int(n) for n in re.findall(r"^control: .*: counted (\d+)$", said, re.M)].count(0) == 0
    assert len(re.findall(r"^control: ", said, re.M)) == 3


@pytest.mark.parametrize("step", ["verify", "load", *STAGES])
def test_nothing_leaves(said: str, step: str) -> None:
    assert re.search(rf"^{step}: [\d.]+ s, packets out 0, tried 0$", said, re.M), said


def test_a_question_is_answered(said: str) -> None:
    found = re.search(r"^tuned +(\S.*)$", said, re.M)
    assert found, said
