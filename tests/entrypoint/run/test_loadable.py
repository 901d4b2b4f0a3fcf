"""Model folders that a scan lets through and that no loader takes, as prepare and ask say it; whole ones pass."""

import json

import pytest

pytest.importorskip("transformers")

from tiny import rows, run, spec, write_model, write_rows

from entrypoint.run.loadable import check_model, load_tokenizer
from entrypoint.run.quiet import hush
from schemas.errors import GateRefused

# transformers and the libraries below it warn about their own internals when they are imported.
pytestmark = [pytest.mark.image, pytest.mark.filterwarnings("default")]


@pytest.fixture
def model(tmp_path):
    hush()
    return write_model(tmp_path / "model")


def change(model, **values):
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_whole_model_passes(model):
    check_model(model)
    assert load_tokenizer(model).eos_token == "<|im_end|>"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_type": "foo"}, "model type `foo`"),
        ({"model_type": None}, "cannot load it"),
        ({"hidden_act": "bar"}, "cannot load it: KeyError: 'bar'"),
        ({"num_attention_heads": 7}, "not a multiple of the number of attention heads"),
        ({"rope_parameters": {"rope_type": "zz"}}, "cannot load it"),
        ({"auto_map": {"AutoConfig": "m.C"}, "model_type": "foo"}, "cannot load it"),
        ({"model_type": "t5"}, "cannot load it"),
        ({"model_type": "bert"}, "weights that config.json asks for are missing; the first is "),
        ({"vocab_size": 999}, "1 weights have another shape than config.json says; model.embed_tokens.weight is [337, 64], not [999, 64]"),
        ({"intermediate_size": 1}, "6 weights have another shape"),
        ({"num_hidden_layers": 3}, "9 weights that config.json asks for are missing; the first is model.layers.2."),
        ({"num_hidden_layers": 1}, "the weights have 9 more than config.json has layers for; the first is model.layers.1."),
        ({"tie_word_embeddings": False}, "1 weights that config.json asks for are missing; the first is lm_head.weight"),
    ],
    ids=str,
)
def test_config_that_does_not_fit(model, values, said):
    change(model, **values)
    with pytest.raises(GateRefused) as refused:
        check_model(model)
    assert said in refused.value.what
    assert len(refused.value.what.splitlines()) == 1 and len(refused.value.what) < 400
    assert refused.value.fix


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"tokenizer.json": None, "tokenizer_config.json": None}, "the tokenizer cannot be loaded: ValueError: Couldn't instantiate"),
        ({"tokenizer.json": "{}"}, "the tokenizer cannot be loaded: KeyError"),
        ({"tokenizer.json": '{"model": {}}'}, "the tokenizer cannot be loaded"),
        ({"tokenizer.json": '{"added_tokens": [], "model": {"type": "BPE"}}'}, "the tokenizer cannot be loaded: "),
        ({"tokenizer.json": None, "tokenizer.model": "spm"}, "the tokenizer cannot be loaded"),
    ],
    ids=["none", "empty", "empty model", "half", "other"],
)
def test_tokenizer_that_is_none(model, files, said):
    for name, content in files.items():
        (model / name).unlink(missing_ok=True)
        if content is not None:
            (model / name).write_text(content)
    with pytest.raises(GateRefused) as refused:
        load_tokenizer(model)
    assert said in refused.value.what


def test_as_stages_say_it(model, tmp_path):
    """Exit 4, the source as the spec names it, and no traceback; nothing is sealed."""
    path, store = spec(tmp_path, model, write_rows(tmp_path / "rows.jsonl", rows())), tmp_path / "store"
    change(model, vocab_size=999)
    run("fetch", path, "--store", store, cwd=tmp_path)
    for command in (("prepare", path), ("ask", path, "Who?", "--base")):
        said = run(*command, "--store", store, cwd=tmp_path, code=4)
        assert f"caisson: model.source: {model}: 1 weights have another shape" in said
        assert "Traceback" not in said
    (model / "tokenizer.json").write_text('{"model": {}}')
    change(model, vocab_size=337)
    run("fetch", path, "--store", store, cwd=tmp_path)
    said = run("prepare", path, "--store", store, cwd=tmp_path, code=4)
    assert f"caisson: model.source: {model}: the tokenizer cannot be loaded" in said
    assert "Traceback" not in said
