"""Configs of which no model can be built: who knows the architecture, which name was meant, and sizes that do not go together."""

import json
import os
import sys
import time

import pytest

pytest.importorskip("transformers")

import transformers

from entrypoint.plan.tables import ARCHITECTURES
from entrypoint.run import meta_model
from entrypoint.run.meta_model import bounded, build, read_config
from schemas.errors import GateRefused, UsageError

pytestmark = [pytest.mark.image, pytest.mark.filterwarnings("default")]

SMALL = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 128}
HERE = transformers.__version__


def config(tmp_path, **values):
    (tmp_path / "config.json").write_text(json.dumps({**SMALL, **values}))
    return tmp_path


@pytest.mark.parametrize(
    ("values", "said", "fix"),
    [
        ({"model_type": "qwen97", "transformers_version": "99.1.0"}, f"transformers {HERE} in the images does not know the architecture 'qwen97'", "with transformers 99.1.0 or later"),
        ({"model_type": "qwen97", "transformers_version": "99.1.0"}, "the config was written by transformers 99.1.0", "build the images"),
        ({"model_type": "lama", "transformers_version": "4.40.0"}, "does not know the architecture 'lama'", "the nearest that it has is llama"),
        ({"model_type": "unheard-of"}, "does not know the architecture 'unheard-of'", "another architecture"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "m.C"}}, "does not know the architecture 'own'", "code of its own"),
        ({"model_type": None}, "names no model_type", "as it was published"),
        ({"model_type": ["llama"]}, "names no model_type", "as it was published"),
        ({"model_type": "x" * 5000}, "x" * 80 + "'", "another architecture"),
    ],
    ids=str,
)  # fmt: skip
def test_unknown_architectures(tmp_path, values, said, fix):
    with pytest.raises(UsageError) as refused:
        read_config(config(tmp_path, **values), "/models/m")
    assert refused.value.what.startswith("/models/m: ") and said in refused.value.what and len(refused.value.what) < 300
    assert fix in refused.value.fix


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_what_is_no_config(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UsageError):
        read_config(tmp_path, "/models/m")


@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_what_has_no_end(tmp_path, make):
    make(tmp_path / "config.json")
    with pytest.raises(UsageError, match=r"no config\.json"):
        read_config(tmp_path, "/models/m")


def test_too_large(tmp_path):
    with (tmp_path / "config.json").open("wb") as stream:
        stream.truncate(2**27)
    with pytest.raises(UsageError, match="a config has at most"):
        read_config(tmp_path, "/models/m")


def test_no_config(tmp_path):
    with pytest.raises(UsageError, match=r"no config\.json"):
        read_config(tmp_path, "/models/m")


@pytest.mark.parametrize("values", [{"num_attention_heads": 7}, {"hidden_act": "bar"}, {"rope_parameters": {"rope_type": "zz"}}, {"hidden_size": -4}], ids=str)
def test_sizes_that_do_not_go_together(tmp_path, values):
    with pytest.raises(GateRefused, match=f"/models/m: transformers {HERE} cannot"):
        build(read_config(config(tmp_path, **values), "/models/m"), "/models/m")


def test_what_is_no_language_model(tmp_path):
    with pytest.raises(GateRefused, match="vit is no language model"):
        read_config(config(tmp_path, model_type="vit"), "/models/m")


def test_a_config_without_end_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(meta_model, "SECONDS", 0.5)
    with pytest.raises(GateRefused, match="no model has the sizes"):
        build(read_config(config(tmp_path, num_hidden_layers=100_000), "/models/m"), "/models/m")


def test_an_end_that_falls_into_a_destructor_comes_again(monkeypatch):
    class Slow:
        def __del__(self):
            time.sleep(2)

    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: dropped.append(raised.exc_type))
    monkeypatch.setattr(meta_model, "SECONDS", 0.5)
    with pytest.raises(GateRefused, match="no model has the sizes"), bounded("/models/m"):
        Slow()
        time.sleep(20)
    assert dropped == [GateRefused]


def test_shared_weights_are_one(tmp_path):
    tied, own = (build(read_config(config(tmp_path, tie_word_embeddings=value), "m"), "m") for value in (True, False))
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (tied, own)]
    assert sizes[1] - sizes[0] == 64 * 128


def test_the_plan_knows_what_transformers_here_knows() -> None:
    assert (ARCHITECTURES["transformers"], sorted(ARCHITECTURES["types"])) == (HERE, sorted(transformers.CONFIG_MAPPING))
