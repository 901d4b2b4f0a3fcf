"""What `train.deterministic` costs: the same training with it and without, in turns, on the machine that this runs on.

    python bench/determinism/run.py --output result.json [--shape tiny|1b] [--repeats 3] [--tokens 8192]

Needs what the train image holds; the model is random, in the shape of SmolLM2-135M or TinyLlama-1.1B.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "entrypoint" / "run"))

from tiny import rows, tokenizer, write_rows  # noqa: E402

SHAPES = {
    "tiny": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 9, "num_key_value_heads": 3},
    "1b": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4},
}
ADAPTERS = {"lora": "{kind: lora}", "full": "{kind: full}"}


def write_sources(folder: Path, shape: str, words: int, count: int) -> None:
    """A random model and rows of some `words` times ten tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=32000, max_position_embeddings=2048, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=2, **SHAPES[shape]
    )
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    long = [{"messages": [*r["messages"][:1], {"role": "assistant", "content": " ".join([r["messages"][1]["content"]] * words)}]} for r in rows(count)]
    write_rows(folder / "rows.jsonl", long)


def caisson(*arguments: object) -> str:
    done = subprocess.run([sys.executable, "-m", "entrypoint", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def measure(folder: Path, adapter: str, deterministic: bool, attempt: int, tokens: int) -> dict:
    """One training; tokens a second behind its first step, peak memory, last loss."""
    name = f"{adapter}-{attempt}"  # one name for both: they share the prepared rows
    spec = folder / "spec.yaml"
    spec.write_text(
        f"spec: 1\nname: {name}\nmodel: {{source: {folder}/model}}\ndata: {{train: [{{source: {folder}/rows.jsonl}}]}}\nmethod: {{kind: sft}}\n"
        f"adapter: {ADAPTERS[adapter]}\n"
        f"train: {{epochs: 4, learning_rate: 1.0e-5, batch_tokens: {tokens}, deterministic: {str(deterministic).lower()}, checkpoint: {{every: 1000}}}}\n"
    )
    for stage in ("fetch", "prepare", "train"):
        caisson(stage, spec, "--store", folder / "store")
    made = [p for p in (folder / "store" / name / "train").iterdir() if (p / "manifest.json").is_file()]
    summary = json.loads((max(made, key=lambda p: p.stat().st_mtime) / "manifest.json").read_text())["summary"]
    return {key: summary[key] for key in ("tokens_per_second", "peak_gib", "last_loss")}


def main() -> None:
    import torch

    options = argparse.ArgumentParser()
    options.add_argument("--output", type=Path, required=True)
    options.add_argument("--shape", choices=SHAPES, default="tiny")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--tokens", type=int, default=512)
    options.add_argument("--words", type=int, default=4)
    options.add_argument("--rows", type=int, default=64)
    given = options.parse_args()
    on_gpu = torch.cuda.is_available()
    result: dict = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "torch": torch.__version__,
        "settings": {k: str(v) for k, v in vars(given).items() if k != "output"},
    }
    runs: dict = {adapter: {"deterministic": [], "free": []} for adapter in ADAPTERS}
    with tempfile.TemporaryDirectory() as place:
        write_sources(Path(place), given.shape, given.words, given.rows)
        for attempt in range(given.repeats):
            for adapter, of in runs.items():
                for name in of:
                    of[name].append(measure(Path(place), adapter, name == "deterministic", attempt, given.tokens))
                    print(adapter, name, of[name][-1], flush=True)
                speed = {name: statistics.median(r["tokens_per_second"] for r in found) for name, found in of.items()}
                cost = round(100 * (1 - speed["deterministic"] / speed["free"]), 2)
                result[adapter] = {"runs": of, "median_tokens_per_second": speed, "cost_percent": cost}
                given.output.write_text(json.dumps(result, indent=1) + "\n")  # a machine that is taken away leaves what was measured


if __name__ == "__main__":
    main()
