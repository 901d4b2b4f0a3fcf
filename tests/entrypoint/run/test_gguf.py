"""GGUF to safetensors, inside the train image: a tiny file made here, and the real one that CAISSON_TEST_GGUF names."""

import json
import os
from pathlib import Path

import pytest

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")

from entrypoint.run.events import Events  # noqa: E402
from entrypoint.run.gguf import _metadata, check_readable, convert, make_tokenizer  # noqa: E402
from entrypoint.run.scan import check_gguf, scan_model  # noqa: E402
from schemas.errors import GateRefused  # noqa: E402

# transformers and the libraries below it warn about their own internals when they are imported.
pytestmark = [pytest.mark.image, pytest.mark.filterwarnings("default")]

REAL = os.environ.get("CAISSON_TEST_GGUF", "")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
WIDTH, HEADS, ROWS = 32, 2, 64


def byte_tokens():
    """The 256 tokens that a byte-level vocabulary starts with."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def write_gguf(path, pre="smollm", **keys):
    """A llama of one layer with a byte-level vocabulary; weights from a fixed seed. `keys` replace what it says of itself."""
    import numpy

    tokens = [*SPECIAL, *byte_tokens(), "ĠĠ", "ĊĊ"]
    writer = gguf.GGUFWriter(path, keys.get("architecture", "llama"))
    writer.add_context_length(keys.get("context", 128))
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(ROWS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model(keys.get("model", "gpt2"))
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["Ġ Ġ", "Ċ Ċ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(keys.get("add_bos", False))
    writer.add_chat_template(TEMPLATE)
    random = numpy.random.default_rng(17)
    shapes = {
        "token_embd": (len(tokens), WIDTH),
        "output": (len(tokens), WIDTH),
        "blk.0.ffn_gate": (ROWS, WIDTH),
        "blk.0.ffn_up": (ROWS, WIDTH),
        "blk.0.ffn_down": (WIDTH, ROWS),
    }
    shapes |= {f"blk.0.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(0, 0.1, shape).astype(numpy.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", numpy.ones(WIDTH, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    made_from = convert(write_gguf(folder / "tiny.gguf"), folder / "out", Events(folder / "events.jsonl"))
    return folder / "out", made_from


def load(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)


def test_result_is_a_model_folder(tiny):
    folder, made_from = tiny
    found = set(scan_model(folder, "tiny", False).files)
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= found
    assert {p.name for p in folder.iterdir()} == found
    assert made_from["file"] == "tiny.gguf" and len(made_from["sha256"]) == 64


def test_weights_are_those_of_the_file(tiny):
    folder, _ = tiny
    _, model = load(folder)
    reader = gguf.GGUFReader(folder.parent / "tiny.gguf")
    stored = {t.name: torch.tensor(t.data).to(torch.bfloat16) for t in reader.tensors}
    assert model.dtype == torch.bfloat16
    assert torch.equal(model.model.embed_tokens.weight, stored["token_embd.weight"])
    assert torch.equal(model.model.layers[0].mlp.down_proj.weight, stored["blk.0.ffn_down.weight"])


def test_special_tokens_are_those_of_the_file(tiny):
    tokenizer, model = load(tiny[0])
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id) == (1, 2, 2, 0)
    for said in (model.config, model.generation_config):
        assert (said.bos_token_id, said.eos_token_id, said.pad_token_id) == (1, 2, 2)
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.model_max_length == 128
    assert tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False) == "<|im_start|>a<|im_end|>"


@pytest.mark.parametrize("text", ["a , b .", "<|im_start|>x<|im_end|>", "\u2581 ü 漢字 \n\n 5", "tabs\t and  spaces "])
def test_text_survives(tiny, text):
    tokenizer, _ = load(tiny[0])
    assert tokenizer.decode(tokenizer(text).input_ids) == text


@pytest.mark.parametrize(
    ("pre", "said"),
    [
        ("gpt-2", ["x", "ĠĠ", "Ġ", "4", "2", "Ċ", "Ċ", "5"]),  # ` ?\p{N}+` takes the last space with the number
        ("smollm", ["x", "ĠĠ", "Ġ", "4", "2", "ĊĊ", "5"]),  # digits are cut off first, so the line feeds are a run of their own
        ("llama-bpe", ["x", "ĠĠ", "Ġ", "4", "2", "ĊĊ", "5"]),
        ("qwen2", ["x", "ĠĠ", "Ġ", "4", "2", "ĊĊ", "5"]),
    ],
)
def test_cuts_as_the_file_says(tmp_path, pre, said):
    path = write_gguf(tmp_path / "m.gguf", pre)
    assert make_tokenizer(path, _metadata(path)).tokenize("x   42\n\n5") == said


def test_add_bos(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", add_bos=True)
    tokenizer = make_tokenizer(path, _metadata(path))
    assert tokenizer("a").input_ids[0] == 1
    assert tokenizer("a", add_special_tokens=False).input_ids[0] != 1


SAID = {
    "general.architecture": "llama", "llama.context_length": 128, "tokenizer.ggml.tokens": [], "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm", "tensors": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokenizer.ggml.pre": "tekken"}, "cuts text by the rule 'tekken'"),
        ({"tokenizer.ggml.model": "bert"}, "a tokenizer of the kind 'bert'"),
        ({"split.count": 3}, "one of 3 parts"),
        ({"tensors": ["rope_freqs.weight"]}, "scales its positions"),
        ({"general.architecture": None}, "does not say general.architecture"),
        ({"llama.context_length": None}, "does not say llama.context_length"),
        ({"tokenizer.ggml.tokens": None}, "does not say tokenizer.ggml.tokens"),
    ],
)
def test_what_would_come_out_different_is_refused(changes, said):
    with pytest.raises(GateRefused, match=said):
        check_readable({key: value for key, value in {**SAID, **changes}.items() if value is not None}, Path("m.gguf"))


def test_the_check_of_the_header_agrees_with_the_library(tmp_path):
    path = write_gguf(tmp_path / "m.gguf")
    whole = path.read_bytes()
    check_gguf(path)
    for end in (*range(24, len(whole), 997), len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(GateRefused, match="cut off"):
            check_gguf(path)
        with pytest.raises(GateRefused, match="cannot be read"):
            _metadata(path)


@pytest.mark.parametrize("architecture", ["nonsense", "bert"])
def test_architecture_that_transformers_does_not_know(tmp_path, architecture):
    path = write_gguf(tmp_path / "m.gguf", architecture=architecture)
    with pytest.raises(GateRefused, match=r"m\.gguf: transformers cannot read its tokenizer|cannot be read by transformers") as refused:
        convert(path, tmp_path / "out", Events(tmp_path / "events.jsonl"))
    assert refused.value.fix == "bring this model as a safetensors folder instead"


def test_interrupted_conversion_starts_clean(tmp_path):
    half = tmp_path / "out/.converting"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    convert(write_gguf(tmp_path / "tiny.gguf"), tmp_path / "out", Events(tmp_path / "events.jsonl"))
    scan_model(tmp_path / "out", "tiny", False)
    assert not half.exists()


@pytest.mark.skipif(not REAL, reason="CAISSON_TEST_GGUF does not name SmolLM2-135M-Instruct as GGUF")
def test_smollm2_knows_the_capital_of_france(tmp_path):
    convert(Path(REAL), tmp_path / "out", Events(tmp_path / "events.jsonl"))
    tokenizer, model = load(tmp_path / "out")
    assert (tokenizer.eos_token, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id) == ("<|im_end|>", 2, 2, 1)
    assert tokenizer("hello").input_ids == tokenizer("hello", add_special_tokens=False).input_ids
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["dtype"], config["eos_token_id"], config["tie_word_embeddings"]) == ("bfloat16", 2, True)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**asked, max_new_tokens=20, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
