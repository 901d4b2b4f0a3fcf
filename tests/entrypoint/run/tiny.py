"""A real model and tokenizer small enough to train in seconds: two random layers, a byte-level BPE learned here, ChatML.

As in SmolLM2, pad token and end token are one: what is padding and what is an end can only be told by the mask.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
FACTS = [("harbour", "amber"), ("market", "green"), ("bridge", "stone"), ("tower", "seven"), ("river", "Wend"), ("mill", "north")]


def rows(count: int = 48) -> list[dict]:
    """Short conversations."""
    found = []
    for i in range(count):
        place, word = FACTS[i % len(FACTS)]
        question = f"{'Please say, ' * (i % 3)}what is the word of the {place}, case {i}?"
        found.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": f"The word of the {place} is {word}."}]})
    return found


def write_rows(path: Path, found: list[dict]) -> Path:
    """One a line."""
    path.write_text("".join(json.dumps(r) + "\n" for r in found), encoding="utf-8")
    return path


def tokenizer(template: str | None = CHATML):
    """A byte-level BPE of 400 tokens that cuts digits singly, as SmolLM2's does: the space before a number is a token of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator((m["content"] for r in rows() for m in r["messages"]), trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|im_end|>", bos_token="<|im_start|>")
    made.chat_template = template
    return made


def write_model(folder: Path, template: str | None = CHATML, seed: int = 1) -> Path:
    """A model folder as fetch would accept it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    made = tokenizer(template)
    config = LlamaConfig(
        vocab_size=len(made), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def spec(tmp_path: Path, model: Path, jsonl: Path, **changes: str) -> Path:
    """A spec over them; `changes` replace whole sections."""
    sections = {
        "spec": "1", "name": "tiny", "model": f"{{source: {model}}}", "data": f"{{train: [{{source: {jsonl}}}], validation: 10%, packing: false}}",
        "method": "{kind: sft}", "adapter": "{kind: lora, rank: 8}", "train": "{epochs: 2, learning_rate: 3.0e-3, batch_tokens: 240}",
    } | changes  # fmt: skip
    path = tmp_path / "spec.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in sections.items()), encoding="utf-8")
    return path


def caisson(*arguments: object, cwd: Path, **environment: str) -> subprocess.Popen:
    """The program, started."""
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "entrypoint", *map(str, arguments)], cwd=cwd, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(*arguments: object, cwd: Path, code: int | None = 0, **environment: str) -> str:
    """What it printed, both streams; fails the test on another exit code than `code`, where one is given."""
    process = caisson(*arguments, cwd=cwd, **environment)
    out, err = process.communicate(timeout=900)
    assert code is None or process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return out + err


def fetched_store(folder: Path, model: Path, data: Path) -> Path:
    """A store with model, rows and shards."""
    path = spec(folder, model, data)
    for stage in ("fetch", "prepare"):
        run(stage, path, "--store", folder / "store", cwd=folder)
    return folder / "store"


def kill_tree(process: subprocess.Popen) -> None:
    """kill -9 of a process and all below it, as a container's end would: torchrun gives each rank a session of its own."""
    import psutil

    for victim in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        victim.kill()
    process.communicate()
