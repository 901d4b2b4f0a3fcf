"""The command that counts a model: what it prints, and what later plans find in the store."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from entrypoint.probe import read_model
from entrypoint.run.anatomy import describe
from schemas.anatomy import FOLDER, read_anatomy

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "tests" / "configs" / "qwen3-30b-a3b.json"
RECORDED = ROOT / "tests" / "anatomies" / "qwen3-30b-a3b.json"


def caisson(*arguments, code=0):
    ended = subprocess.run([sys.executable, "-m", "entrypoint", "anatomy", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout if code == 0 else ended.stderr


def test_words():
    found = read_anatomy(RECORDED.read_bytes())
    said = "\n".join(describe(found))
    assert said.startswith("Qwen3MoeForCausalLM, by transformers ")
    assert "30,532,122,624 weights, bfloat16" in said
    assert "experts: 8 of 128 compute a token" in said
    assert "  mlp.experts.gate_up_proj: 2,048 -> 1,536 x 128 (expert, one tensor)" in said
    visual = read_anatomy((ROOT / "tests" / "anatomies" / "qwen2.5-vl-7b.json").read_bytes())
    assert describe(visual)[-1] == "tower visual: 676,550,144 weights, 32 layers"
    assert "head: the input table" in describe(read_anatomy((ROOT / "tests" / "anatomies" / "gpt2.json").read_bytes()))


@pytest.mark.skipif(find_spec("transformers") is not None, reason="says what is missing outside the images")
def test_outside_the_images(tmp_path):
    assert "docker compose run --rm train anatomy" in caisson(CONFIG, "--store", tmp_path, code=3)


@pytest.mark.image
@pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers")
def test_a_config_alone(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_bytes(CONFIG.read_bytes())
    said = json.loads(caisson(tmp_path / "m", "--store", tmp_path, "--json"))
    assert said["parameters"] == 30_532_122_624
    assert len(list((tmp_path / FOLDER).iterdir())) == 1
    assert "30,532,122,624" in caisson(tmp_path / "m" / "config.json", "--store", tmp_path)
    found = read_model(tmp_path / "m", tmp_path)
    assert found.anatomy == read_anatomy(RECORDED.read_bytes())
    (tmp_path / "m" / "config.json").write_text("{}")
    assert read_model(tmp_path / "m", tmp_path).anatomy is None, "another config has another"
    assert "names no model_type" in caisson(tmp_path / "m", "--store", tmp_path, code=2)
