"""What a model folder may hold: one good folder, and many that differ from it in one thing."""

import io
import json
import math
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
from model_folder import CONFIG, model_files, safetensors, tensor, write

from entrypoint.run.scan import check_gguf, choose, scan_model
from schemas.errors import GateRefused

PICKLE = pickle.dumps({"w": [1.0]}, protocol=2)
OLD_PICKLE = pickle.dumps(Path("harmless"), protocol=0)
"""Without a mark at its start."""


def zipped(*names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, PICKLE)
    return stream.getvalue()


def config(**changes):
    return json.dumps({**CONFIG, **changes}).encode()


TORCH = zipped("archive/data.pkl", "archive/data/0")

BAD = {
    "no config": ({"config.json": None}, "no config.json"),
    "config not JSON": ({"config.json": b"{"}, "config.json is not valid JSON"),
    "config a list": ({"config.json": b"[]"}, "config.json is not a JSON object"),
    "config too deep": ({"config.json": b"[" * 100_000}, "config.json is not valid JSON"),
    "auto_map": ({"config.json": json.dumps({**CONFIG, "auto_map": {"AutoModel": "m.M"}}).encode()}, "config.json names Python code"),
    "auto_map in tokenizer": ({"tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": ["t.T", null]}}'}, "tokenizer_config.json names Python code"),
    "auto_map deep inside": ({"config.json": json.dumps({**CONFIG, "text_config": {"auto_map": {"AutoModel": "m.M"}}}).encode()}, "names Python code"),
    "code": ({"modeling_x.py": b"import os"}, "modeling_x.py is Python code"),
    "code in a sub-folder": ({"custom_generate/generate.py": b"import os"}, "generate.py is Python code"),
    "torch weights only": ({"model.safetensors": None, "pytorch_model.bin": TORCH}, "pytorch_model.bin: the weights are pickled"),
    "old torch weights only": ({"model.safetensors": None, "weights.dat": PICKLE}, "weights.dat: the weights are pickled"),
    "pickle named safetensors": ({"model.safetensors": PICKLE}, "model.safetensors: this is a pickle"),
    "torch named safetensors": ({"model.safetensors": TORCH}, "model.safetensors: this is a zip archive with a pickle"),
    "pickle named vocabulary": ({"tokenizer.model": PICKLE}, "tokenizer.model is a pickle"),
    "archive named text": ({"merges.txt": zipped("a.txt")}, "merges.txt is a zip archive"),
    "pickle named JSON": ({"tokenizer.json": PICKLE}, "tokenizer.json is a pickle"),
    "no weights": ({"model.safetensors": None}, "no weights"),
    "weights below only": ({"model.safetensors": None, "sub/model.safetensors": model_files()["model.safetensors"]}, "no weights"),
    "LFS pointer": ({"model.safetensors": b"version https://git-lfs.example/spec/v1\noid sha256:0\nsize 9\n"}, "this is a Git LFS pointer"),
    "empty weights": ({"model.safetensors": b""}, "only 0 bytes"),
    "header oversized": ({"model.safetensors": struct.pack("<Q", 2**40) + b"{}"}, "claims 1099511627776 bytes"),
    "header not JSON": ({"model.safetensors": struct.pack("<Q", 4) + b"nope"}, "header is not JSON"),
    "header a list": ({"model.safetensors": struct.pack("<Q", 2) + b"[]"}, "header is not a JSON object"),
    "name twice": ({"model.safetensors": struct.pack("<Q", 14) + b'{"w":1, "w":2}'}, "a name is there twice"),
    "no tensor": ({"model.safetensors": safetensors({})}, "holds no tensor"),
    "entry malformed": ({"model.safetensors": safetensors({"w": {"dtype": "F32"}})}, "lacks dtype, shape or data_offsets"),
    "type unknown": ({"model.safetensors": safetensors({"w": tensor(0, 4, "X1")})}, "unknown type 'X1'"),
    "shape negative": ({"model.safetensors": safetensors({"w": tensor(0, 4, shape=[-1])})}, "not a whole number"),
    "offsets lie about the shape": ({"model.safetensors": safetensors({"w": tensor(0, 16, shape=[3])})}, "needs 12 bytes, its offsets span 16"),
    "offsets overlap": ({"model.safetensors": safetensors({"w": tensor(0, 16), "v": tensor(8, 24)})}, "starts at byte 8, not at 16"),
    "gap": ({"model.safetensors": safetensors({"w": tensor(0, 16), "v": tensor(20, 24)})}, "starts at byte 20, not at 16"),
    "cut off": ({"model.safetensors": model_files()["model.safetensors"][:-1]}, "cut off"),
    "something behind": ({"model.safetensors": safetensors({"w": tensor(0, 16)}, b"#!/bin/sh")}, "something is hidden"),
    "shard missing": (
        {"model.safetensors": None, "model.safetensors.index.json": b'{"weight_map": {"w": "model-00001-of-00002.safetensors"}}'},
        "model-00001-of-00002.safetensors is missing",
    ),
    "shard outside": ({"model.safetensors.index.json": b'{"weight_map": {"w": "../other/model.safetensors"}}'}, "not a file of this folder"),
    "index empty": ({"model.safetensors.index.json": b'{"weight_map": {}}'}, "no weight_map"),
    "index names a tensor that its shard does not hold": (
        {"model.safetensors.index.json": b'{"weight_map": {"w": "model.safetensors", "lost": "model.safetensors"}}'},
        "model.safetensors does not hold 'lost', though model.safetensors.index.json says so",
    ),
    **{
        f"index claims {size}": (
            {"model.safetensors.index.json": b'{"metadata": {"total_size": %s}, "weight_map": {"w": "model.safetensors"}}' % size},
            "total_size is",
        )
        for size in (b"-1", b"0", b'"24"', b"true", b"1e300", b"[]")
    },
    "old pickle named vocabulary": ({"vocab.txt": OLD_PICKLE}, "vocab.txt is a pickle"),
    "old pickle named template": ({"chat_template.jinja": OLD_PICKLE}, "chat_template.jinja is a pickle"),
    "no tokenizer": ({"tokenizer.json": None}, "no tokenizer: neither tokenizer.json, tekken.json"),
    "tokenizer empty": ({"tokenizer.json": b"{}"}, "tokenizer.json describes no tokenizer"),
    "tokenizer a list": ({"tokenizer.json": b"[]"}, "tokenizer.json describes no tokenizer"),
    **{f"size {value}": ({"config.json": config(hidden_size=value)}, f"config.json: hidden_size is {value}") for value in (0, -64, 64.5, "64", True, 2**31)},
    "size infinite": ({"config.json": config(vocab_size=math.inf)}, "config.json: vocab_size is inf"),
    "size of one layer": ({"config.json": config(intermediate_size=[128, 0])}, "config.json: intermediate_size is 0"),
    "size inside": ({"config.json": config(text_config={"num_hidden_layers": -1})}, "config.json: text_config.num_hidden_layers is -1"),
    "unprintable name": ({"a\nb.json": b"{}"}, "unprintable characters"),
}


def folder_with(tmp_path, changes):
    files = {**model_files(), **changes}
    return write(tmp_path / "m", {n: c for n, c in files.items() if c is not None})


@pytest.mark.parametrize(("changes", "said"), BAD.values(), ids=BAD)
def test_bad_folder_is_refused(tmp_path, changes, said):
    with pytest.raises(GateRefused) as refused:
        scan_model(folder_with(tmp_path, changes), "/models/m", False)
    assert said in refused.value.what
    assert refused.value.what.startswith("/models/m")
    assert refused.value.fix


@pytest.mark.parametrize("name", ["tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "qwen.tiktoken", "tekken.json"])
def test_vocabulary_of_another_kind_passes(tmp_path, name):
    scan_model(folder_with(tmp_path, {"tokenizer.json": None, name: b"{}"}), "/models/m", False)


def test_tokenizer_that_comes_as_code_passes(tmp_path):
    scan_model(folder_with(tmp_path, {"tokenizer.json": None, "tokenization_x.py": b"import os"}), "/models/m", True)


def test_sizes_that_are_left_open_pass(tmp_path):
    changes = config(head_dim=None, intermediate_size=[128, 256], hidden_size=64, text_config={"hidden_size": 64})
    scan_model(folder_with(tmp_path, {"config.json": changes}), "/models/m", False)


def test_good_folder_passes(tmp_path):
    found = scan_model(folder_with(tmp_path, {}), "/models/m", False)
    assert set(found.files) == set(model_files())
    assert not found.pickles and not found.others


def test_shards_pass(tmp_path):
    one = model_files()["model.safetensors"]
    index = {"weight_map": {"w": "a-1.safetensors", "v": "a-2.safetensors"}, "metadata": {"total_size": 48.0}}
    changes = {"model.safetensors": None, "a-1.safetensors": one, "a-2.safetensors": one, "model.safetensors.index.json": json.dumps(index).encode()}
    assert "a-2.safetensors" in scan_model(folder_with(tmp_path, changes), "/models/m", False).files


def test_pickles_beside_safetensors_stay_behind(tmp_path):
    folder = folder_with(tmp_path, {"pytorch_model.bin": TORCH, "training_args.bin": PICKLE, "weights.dat": PICKLE, "README.md": b"#", ".git/x.py": b""})
    found = scan_model(folder, "/models/m", False)
    assert found.pickles == ("pytorch_model.bin", "training_args.bin", "weights.dat")
    assert found.others == 1
    assert set(found.files) == set(model_files())


def test_trusted_code_passes(tmp_path):
    changes = {"config.json": json.dumps({**CONFIG, "auto_map": {"AutoModel": "m.M"}}).encode(), "m.py": b"class M: ..."}
    assert "m.py" in scan_model(folder_with(tmp_path, changes), "/models/m", True).files


def test_trust_does_not_let_pickles_in(tmp_path):
    with pytest.raises(GateRefused, match="pickled"):
        scan_model(folder_with(tmp_path, {"model.safetensors": None, "pytorch_model.bin": TORCH}), "/models/m", True)


@pytest.mark.parametrize("target", ["../secret.json", "/etc/hostname", ".."])
def test_link_that_leaves_is_refused(tmp_path, target):
    folder = folder_with(tmp_path, {})
    (tmp_path / "secret.json").write_text("{}")
    (folder / "extra.json").symlink_to(target)
    with pytest.raises(GateRefused, match=r"extra.json is a link that leaves"):
        scan_model(folder, "/models/m", False)


def test_dangling_link_is_refused(tmp_path):
    folder = folder_with(tmp_path, {})
    (folder / "extra.json").symlink_to("nowhere")
    with pytest.raises(GateRefused, match="not there"):
        scan_model(folder, "/models/m", False)


def test_link_inside_passes(tmp_path):
    folder = folder_with(tmp_path, {"blobs/1": b'{"a": 1}'})
    (folder / "extra.json").symlink_to("blobs/1")
    assert "extra.json" in scan_model(folder, "/models/m", False).files


def test_pipe_is_refused_without_opening_it(tmp_path):
    folder = folder_with(tmp_path, {})
    os.mkfifo(folder / "extra.json")
    with pytest.raises(GateRefused, match="pipe"):
        scan_model(folder, "/models/m", False)


def test_short_header_that_looks_like_a_pickle_passes(tmp_path):
    """A header of 0x0280 bytes makes the file start like a pickle of protocol 2."""
    entries = {"w": tensor(0, 16), "__metadata__": {"pad": ""}}
    pad = 0x280 - len(json.dumps(entries))
    content = safetensors({**entries, "__metadata__": {"pad": "x" * pad}})
    assert content[:2] == b"\x80\x02"
    scan_model(folder_with(tmp_path, {"model.safetensors": content}), "/models/m", False)


def test_fix_names_the_gguf(tmp_path):
    with pytest.raises(GateRefused) as refused:
        choose(["a.gguf"], "/models/m", False)
    assert refused.value.fix == "for the GGUF in it write model.source: /models/m/a.gguf"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>", "does not start with GGUF"),
        (PICKLE, "it is a pickle"),
        (b"version https://git-lfs", "Git LFS pointer"),
        (b"GGUF\3\0", "ends after 6 bytes"),
        (b"GGUF" + struct.pack("<IQQ", 1, 5, 5), "GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 5, 5), "GGUF version 50331648"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 5), "with 0 tensors"),
    ],
)
def test_bad_gguf_is_refused(tmp_path, content, said):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(GateRefused) as refused:
        check_gguf(path)
    assert said in refused.value.what
