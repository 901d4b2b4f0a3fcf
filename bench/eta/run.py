"""How right the time left is after 20 steps: real trainings on this machine, rows of unlike lengths, with validations and saves.

    python bench/eta/run.py --output bench/eta/NAME.json [--repeats 3] [--epochs 3]

Needs what the train image holds. Writes each step's seconds and work, and by how much two estimates after 20 steps were off: of the steps
alone, and of all that was left as the run itself said it.
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
    """Of one run."""
    steps = [event for event in events if event["event"] == "step"]
    done = [(event["seconds"], event["work"]) for event in steps]
    left = forecast(done[1:AFTER], len(done) - AFTER, sum(work for _, work in done[AFTER:]))
    last = max(event["at"] for event in events if event["event"] in ("step", "validated"))
    real = last - steps[AFTER - 1]["at"]
    return {
        "error_of_steps_after_20": round(left / sum(seconds for seconds, _ in done[AFTER:]) - 1, 4),
        "error_of_all_that_was_left": round(steps[AFTER - 1]["seconds_left"] / real - 1, 4),
        "error_of_a_mean_of_steps": round(sum(s for s, _ in done[:AFTER]) / AFTER * (len(done) - AFTER) / sum(s for s, _ in done[AFTER:]) - 1, 4),
        "seconds_left_after_20": round(real, 1),
        "steps": [[seconds, work] for seconds, work in done],
    }


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
            print({key: value for key, value in found[-1].items() if key != "steps"}, flush=True)
    options.output.write_text(json.dumps({"after": AFTER, "runs": found}) + "\n")


if __name__ == "__main__":
    main()
