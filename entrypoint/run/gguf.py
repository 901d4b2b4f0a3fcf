"""GGUF -> a folder of safetensors that trains and serves like any other.

transformers reads the weights. Of the tokenizer it reads the vocabulary; the rest is set here from the file's own metadata, because
transformers 5.17 takes the end-of-text token from `bos_token_id` and splits every byte-level vocabulary as GPT-2 does
(integrations/ggml.py, GGUFLlamaConverter).
"""

import os
import shutil
from pathlib import Path
from typing import Any

from entrypoint.run.events import Events, say
from entrypoint.run.leaf import judging
from entrypoint.run.seal import sha256
from schemas.errors import GateRefused, StepFailed

DRAFT = ".converting"
"""Sub-folder that grows; its files move up when all are written and tried."""

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

SPLITS: dict[str, str] = {
    "gpt-2": "gpt2", "default": "gpt2",
    "smollm": "digits", "starcoder": "digits", "refact": "digits", "command-r": "digits",
    "llama-bpe": LLAMA3, "llama3": LLAMA3, "qwen2": QWEN2, "deepseek-r1-qwen": QWEN2,
}  # fmt: skip
"""How text is cut before merges apply, by `tokenizer.ggml.pre` (llama.cpp, src/llama-vocab.cpp): GPT-2's rule, GPT-2's with every digit alone, or a pattern."""

KNOWN_TOKENIZERS = ("gpt2", "llama")
"""`tokenizer.ggml.model`: byte-level merges, and SentencePiece."""

INSTEAD = "bring this model as a safetensors folder instead"
"""The fix for what a GGUF file cannot be turned into."""

TRIAL_TOKENS = 4
"""Tokens that the result must produce before it counts."""


def convert(source: Path, output: Path, events: Events) -> dict[str, Any]:
    """Fill `output` with the model of a GGUF file; returns what it was made from. Raises GateRefused for what would come out different."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported
    draft = output / DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    said = _metadata(source)
    check_readable(said, source)
    say(f"fetch: converting {source} to safetensors")
    events.write("converting", source=str(source))
    tokenizer = make_tokenizer(source, said)
    tokenizer.save_pretrained(draft)
    _save_weights(source, draft, tokenizer)
    _try_out(draft)
    for path in sorted(draft.iterdir()):
        path.chmod(0o644)  # safetensors makes its file for its owner alone
        path.replace(output / path.name)
    draft.rmdir()
    return {"file": source.name, "bytes": source.stat().st_size, "sha256": sha256(source), "file_type": said.get("general.file_type")}


def check_readable(said: dict[str, Any], source: Path) -> None:
    """Raise GateRefused where this file would turn into a model that answers differently from the file."""
    fix = INSTEAD
    needed = ("general.architecture", "tokenizer.ggml.tokens", f"{said.get('general.architecture')}.context_length")
    if missing := [key for key in needed if key not in said]:
        raise GateRefused(f"{source} does not say {missing[0]}", fix)
    if said.get("split.count", 0) > 1:
        raise GateRefused(f"{source} is one of {said['split.count']} parts", "merge them with llama.cpp's gguf-split, or " + fix)
    if "rope_freqs.weight" in said["tensors"]:
        raise GateRefused(f"{source} scales its positions (rope_freqs.weight), which transformers does not read from GGUF", fix)
    kind = said.get("tokenizer.ggml.model")
    if kind not in KNOWN_TOKENIZERS:
        raise GateRefused(f"{source} has a tokenizer of the kind {kind!r}; {' and '.join(KNOWN_TOKENIZERS)} are read exactly", fix)
    split = said.get("tokenizer.ggml.pre", "default")
    if kind == "gpt2" and split not in SPLITS:
        raise GateRefused(f"{source} cuts text by the rule {split!r} (tokenizer.ggml.pre); known are {', '.join(SPLITS)}", fix)


def make_tokenizer(source: Path, said: dict[str, Any]) -> Any:
    """The tokenizer as the file describes it."""
    from tokenizers import decoders
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    with judging(f"{source}: transformers cannot read its tokenizer", INSTEAD):
        read = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    backend = read.backend_tokenizer
    tokens = said["tokenizer.ggml.tokens"]
    if said["tokenizer.ggml.model"] == "gpt2":
        backend.pre_tokenizer = _pre_tokenizer(SPLITS[said.get("tokenizer.ggml.pre", "default")])
        backend.decoder = decoders.ByteLevel()

    def token(role: str) -> str | None:
        at = said.get(f"tokenizer.ggml.{role}_token_id")
        return tokens[at] if at is not None and at < len(tokens) else None

    first = token("bos") if said.get("tokenizer.ggml.add_bos_token", said["tokenizer.ggml.model"] == "llama") else None
    backend.post_processor = _post_processor(first, tokens)
    names = {"bos_token": token("bos"), "eos_token": token("eos"), "unk_token": token("unknown"), "pad_token": token("padding") or token("eos")}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=said.get("tokenizer.chat_template"),
        model_max_length=said[f"{said['general.architecture']}.context_length"],
        clean_up_tokenization_spaces=False,
        **{role: text for role, text in names.items() if text is not None},
    )


def _pre_tokenizer(rule: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule in ("gpt2", "digits"))
    if rule == "gpt2":
        return level
    first = pre_tokenizers.Digits(individual_digits=True) if rule == "digits" else pre_tokenizers.Split(Regex(rule), behavior="isolated")
    return pre_tokenizers.Sequence([first, level])


def _post_processor(first: str | None, tokens: list[str]) -> Any:
    from tokenizers import processors

    if first is None:
        return processors.ByteLevel(trim_offsets=True)
    return processors.TemplateProcessing(single=f"{first} $A", pair=f"{first} $A {first}:1 $B:1", special_tokens=[(first, tokens.index(first))])


def _metadata(source: Path) -> dict[str, Any]:
    """Every key of the file, and the names of its tensors under `tensors`."""
    from gguf import GGUFReader  # type: ignore[import-not-found]  # only in the train image

    with judging(f"{source} cannot be read", "download the file again"):
        reader = GGUFReader(source)
        return {**{name: field.contents() for name, field in reader.fields.items()}, "tensors": [t.name for t in reader.tensors]}


def _save_weights(source: Path, draft: Path, tokenizer: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    quantized = GgufConfig(dequantize=True)  # without, the model keeps its packed blocks and cannot be saved
    with judging(f"{source} cannot be read by transformers", INSTEAD):
        model = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, quantization_config=quantized, dtype=torch.float32, local_files_only=True
        )
    model = model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    for settings in (model.config, model.generation_config):
        settings.bos_token_id, settings.eos_token_id, settings.pad_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    model.save_pretrained(draft)


def _try_out(draft: Path) -> None:
    """Load what was written and let it speak; raises StepFailed where it does not."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(draft, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(draft, dtype=torch.bfloat16, local_files_only=True)
    asked = tokenizer("The", return_tensors="pt")
    with torch.inference_mode():
        logits = model(**asked).logits
        answer = model.generate(**asked, max_new_tokens=TRIAL_TOKENS, min_new_tokens=TRIAL_TOKENS, do_sample=False)
    if not torch.isfinite(logits).all() or answer.shape[1] != asked["input_ids"].shape[1] + TRIAL_TOKENS:
        raise StepFailed("the converted model does not generate", "report this with the name of the GGUF file")
