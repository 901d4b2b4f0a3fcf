"""How right the time left is after 20 steps: real trainings on this machine, rows of unlike lengths, with validations and saves.

    python bench/eta/run.py --output bench/eta/NAME.json [--repeats 3] [--epochs 3]

Needs what the train image holds. Writes each step's seconds, CPU seconds and work, and by how much the estimates after 20 steps were
off: of the steps alone by both, and of all that was left as the run itself said it.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "entrypoint" / "run")]

from tiny import run, spec, tokenizer, write_rows  # noqa: E402

from entrypoint.run.step_clock import forecast  # noqa: E402

AFTER = 20
SHAPE = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4}


def write_sources(folder: Path, count: int) -> tuple[Path, Path]:
    """A random model, and rows with answers of 1 to 40 sentences."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    words = tokenizer()
    config = LlamaConfig(vocab_size=len(words), max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2, **SHAPE)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "model")
    words.save_pretrained(folder / "model")
    chance = random.Random(7)
    found = []
    for i in range(count):
        answer = " ".join(["The word of the harbour is amber."] * min(40, int(chance.lognormvariate(1.5, 0.9)) + 1))
        found.append({"messages": [{"role": "user", "content": f"What is the word of case {i}?"}, {"role": "assistant", "content": answer}]})
    return folder / "model", write_rows(folder / "rows.jsonl", found)


def judge(events: list[dict]) -> dict:
    """Of one run, by the clock and by the CPU time that its process got: a machine that others use changes its speed from step to step."""
    steps = [event for event in events if event["event"] == "step"]
    last = max(event["at"] for event in events if event["event"] in ("step", "validated"))
    real = last - steps[AFTER - 1]["at"]
    found = {"seconds_left_after_20": round(real, 1), "error_of_all_that_was_left": round(steps[AFTER - 1]["seconds_left"] / real - 1, 4)}
    for name in ("seconds", "cpu_seconds"):
        done = [(event[name], event["work"]) for event in steps]
        sum_left = sum(seconds for seconds, _ in done[AFTER:])
        left = forecast(done[1:AFTER], len(done) - AFTER, sum(work for _, work in done[AFTER:]))
        mean = sum(seconds for seconds, _ in done[1:AFTER]) / (AFTER - 1) * (len(done) - AFTER)
        found[name] = {"error": round(left / sum_left - 1, 4), "error_of_a_mean": round(mean / sum_left - 1, 4), "steps": [list(pair) for pair in done]}
    return found


def main() -> None:
    """Prepare once, train as often as wanted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = f"{{epochs: {options.epochs}, learning_rate: 1.0e-3, batch_tokens: 600}}"
        path = spec(folder, *write_sources(folder, 150), train=train)
        for stage in ("fetch", "prepare"):
            run(stage, path, "--store", folder / "prepared", cwd=folder)
        found = []
        for at in range(options.repeats):
            store = Path(shutil.copytree(folder / "prepared", folder / f"store-{at}"))
            run("train", path, "--store", store, cwd=folder)
            found.append(judge([json.loads(line) for line in (store / "tiny" / "logs" / "train.jsonl").read_text().splitlines()]))
            print({key: {k: v for k, v in value.items() if k != "steps"} if isinstance(value, dict) else value for key, value in found[-1].items()}, flush=True)
    options.output.write_text(json.dumps({"after": AFTER, "runs": found}) + "\n")


if __name__ == "__main__":
    main()
