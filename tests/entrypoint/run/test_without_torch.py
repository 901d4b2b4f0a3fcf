"""Rows are prepared in a process that has no torch, with the same verdicts on a model."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from tiny import ROOT, write_model

pytestmark = pytest.mark.image

LOOK = """
import resource, sys
from pathlib import Path
from entrypoint.run.loadable import load_tokenizer
from entrypoint.run.without_torch import check_model_apart
from schemas.errors import GateRefused

def main():
    try:
        check_model_apart(Path(sys.argv[1]))
    except GateRefused as refused:
        print("refused", refused.what, "FIX", refused.fix)
        return
    tokenizer = load_tokenizer(Path(sys.argv[1]))
    print(tokenizer("one two").input_ids, "torch" in sys.modules)
    import torch
    print(torch.ones(2).sum().item())

if __name__ == "__main__":
    main()
"""


def look(folder, tmp_path):
    script = tmp_path / "look.py"
    script.write_text(LOOK)
    return subprocess.run([sys.executable, str(script), str(folder)], cwd=ROOT, capture_output=True, text=True, check=True)


def test_a_tokenizer_without_torch_which_can_be_imported_later(tmp_path):
    from transformers import AutoTokenizer

    model = write_model(tmp_path / "model")
    done = look(model, tmp_path)
    ids = AutoTokenizer.from_pretrained(model)("one two").input_ids
    assert done.stdout.splitlines() == [f"{ids} False", "2.0"]
    assert "PyTorch" not in done.stderr


def test_the_same_words_for_a_model_that_cannot_be_loaded(tmp_path):
    model = write_model(tmp_path / "model")
    (model / "model.safetensors").unlink()
    done = look(model, tmp_path)
    said = done.stdout
    assert done.stderr == ""
    assert said.startswith("refused ") and "transformers" in said and "FIX bring the whole folder" in said


def test_a_parent_that_is_killed_leaves_no_process_behind(tmp_path):
    """Killed while the model is looked at: what it started closes its output soon, and so ends."""
    model = write_model(tmp_path / "model")
    script = tmp_path / "look.py"
    script.write_text(LOOK)
    process = subprocess.Popen([sys.executable, str(script), str(model)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text().split():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=120)  # until nobody holds the pipe
