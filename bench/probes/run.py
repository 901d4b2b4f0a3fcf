"""The mistakes that eight other trainers were given, given to `caisson validate`: caught or not, how it is told, how long it takes.

Each probe is a spec with one mistake, checked RUNS times in a fresh process; the median is kept. Writes result.json beside
this file. `python bench/probes/run.py` from anywhere; needs only the packages of tests/requirements.txt.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNS = 5
INVALID = 2
"""Exit code for a spec that is wrong."""

VALID = """\
spec: 1
name: probe
model:
  source: hf://Qwen/Qwen2.5-7B-Instruct
data:
  train:
    - source: /data/rows.jsonl
  validation: 5%
  max_length: 2048
method:
  kind: sft
adapter:
  kind: lora
  rank: 16
  dropout: 0.05
train:
  learning_rate: 1e-4
  schedule: cosine
  precision: bf16
"""

PROBES = {
    "nothing wrong": ("", ""),
    "unknown key `rnak`": ("  rank: 16", "  rnak: 16"),
    "unknown key `lora_rnak` at the root": ("adapter:\n", "lora_rnak: 16\nadapter:\n"),
    "unknown key in a list, `spilt`": ("    - source: /data/rows.jsonl", "    - source: /data/rows.jsonl\n      spilt: train"),
    "`rank: sixteen`": ("rank: 16", "rank: sixteen"),
    '`rank: "16"`': ("rank: 16", 'rank: "16"'),
    "`learning_rate: fast`": ("learning_rate: 1e-4", "learning_rate: fast"),
    "`rank: -4`": ("rank: 16", "rank: -4"),
    "`dropout: 7.5`": ("dropout: 0.05", "dropout: 7.5"),
    "`schedule: cosin`": ("schedule: cosine", "schedule: cosin"),
    "`optimizer: adamww`": ("  schedule: cosine", "  schedule: cosine\n  optimizer: adamww"),
    "`kind: sfft`": ("kind: sft", "kind: sfft"),
    "`max_length: 2k`": ("max_length: 2048", "max_length: 2k"),
    "duplicate key": ("  rank: 16", "  rank: 16\n  rank: 32"),
    "null for a value": ("learning_rate: 1e-4", "learning_rate: null"),
    "five mistakes at once": (
        "  rank: 16\n  dropout: 0.05\ntrain:\n  learning_rate: 1e-4\n  schedule: cosine",
        "  rnak: 16\n  dropout: 7.5\ntrain:\n  learning_rate: fast\n  schedule: cosin\n  epochs: -1",
    ),
}
"""Title: (what stands in VALID, what is written instead). `precision: bf16` is checked on a host without a GPU."""


def check(text: str, folder: Path) -> tuple[int, str, float]:
    """Exit code, everything printed, and wall seconds of one process."""
    path = folder / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "entrypoint", "validate", str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip(), time.perf_counter() - started


def probe(title: str, folder: Path) -> dict[str, object]:
    """One row of the table."""
    old, new = PROBES[title]
    assert VALID.count(old) == 1 or not old, title
    text = VALID.replace(old, new) if old else VALID
    runs = [check(text, folder) for _ in range(RUNS)]
    code, said = runs[0][:2]
    said = said.replace(str(folder) + os.sep, "")
    lines = said.splitlines()
    return {
        "probe": title,
        "exit_code": code,
        "caught": code == INVALID,
        "line_shown": all(line.split(":")[1].isdigit() for line in lines if line.startswith("spec.yaml:") and code),
        "fix_shown": any(line.startswith("    ") for line in lines),
        "traceback": "Traceback" in said,
        "problems": sum(line.startswith("spec.yaml:") for line in lines) if code else 0,
        "said": lines,
        "seconds_median": round(statistics.median(seconds for _, _, seconds in runs), 3),
        "seconds": [round(seconds, 3) for _, _, seconds in runs],
    }


def main() -> None:
    """Run every probe and write the result."""
    with tempfile.TemporaryDirectory() as folder:
        check(VALID, Path(folder))  # compiles the bytecode once
        rows = [probe(title, Path(folder)) for title in PROBES]
    result = {"python": platform.python_version(), "cores": os.cpu_count(), "runs": RUNS, "probes": rows}
    (HERE / "result.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in rows:
        print(f"{row['seconds_median']:.3f} s  {'caught' if row['caught'] else 'passed'}  {row['probe']}")


if __name__ == "__main__":
    main()
