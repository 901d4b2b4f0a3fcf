"""Runs every row of bench/memory and writes result.json and the table of README.md.

`python bench/memory/run.py` counts on fake tensors in the training image, no GPU needed. `python bench/memory/run.py --device cuda`, straight from the
checkout, measures `torch.cuda.max_memory_allocated` of the same step on this machine's GPU with the Python that runs it; rows that do not fit are
left out and named. `--table` makes the table of what result.json holds.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

from predict import accelerate_says, caisson, deepspeed_says  # noqa: E402
from rows import apart, grid, measured  # noqa: E402

GIB = 1024**3
RECOMPUTES = {True: "yes", False: "no", "selective": "half"}
IMAGE = "caisson/train:dev-cpu"


def run(device: str) -> list[dict[str, Any]]:
    """Each row with its bytes."""
    inside = ["python", "bench/memory/step.py", "--device", device]
    if device == "fake":
        options = ["--rm", "-i", "--network=none", f"--volume={ROOT}:/src:ro", "--workdir=/src", "--env=PYTHONPATH=/src", "--env=OMP_NUM_THREADS=1"]
        command = ["docker", "run", *options, "--entrypoint=/opt/caisson/venv/bin/python", IMAGE, *inside[1:]]
    else:
        command = [sys.executable, *inside[1:]]
    rows = "".join(json.dumps(row) + "\n" for row in [*measured(), *apart(), *grid()])
    done = subprocess.run(command, input=rows, text=True, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(result: dict[str, Any]) -> str:
    """Markdown: a line a row, and the spread of each estimator's errors."""
    lines = ["| model | weights | rows x length | recomputes | loss | beside | counted, GiB | plan | off by | accelerate | DeepSpeed |", "|---" * 11 + "|"]
    errors: dict[str, list[float]] = {"plan": [], "accelerate": [], "DeepSpeed": []}
    for row in result["rows"]:
        if row.get("adapters") or "peak" not in row:
            continue
        said = {"plan": caisson(row, result["device"])[0], "accelerate": accelerate_says(row), "DeepSpeed": deepspeed_says(row)}
        for name, size in said.items():
            errors[name].append(abs(size / row["peak"] - 1))
        beside = ", ".join(f"{name} {row[name]}" for name in ("dropout", "padded", "rank", "accumulated") if row.get(name))
        off = said["plan"] / row["peak"] - 1
        cells = [row["shape"], row["adapter"], f"{row['batch']} x {row['length']:,}", RECOMPUTES[row["checkpointing"]], row["loss"], beside]
        cells += [f"{row['peak'] / GIB:.2f}", f"{said['plan'] / GIB:.2f}", f"{off:+.1%}", f"{said['accelerate'] / GIB:.1f}", f"{said['DeepSpeed'] / GIB:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    spread = ["| estimator | median | p95 | worst |", "|---|---|---|---|"]
    for name, found in errors.items():
        found.sort()
        spread.append(f"| {name} | {statistics.median(found):.1%} | {found[int(0.95 * len(found))]:.1%} | {found[-1]:.1%} |")
    return "\n".join([*spread, "", *lines]) + "\n"


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=("fake", "cuda"), default="fake")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    path = HERE / ("result.json" if given.device == "fake" else "result-cuda.json")
    if not given.table:
        path.write_text(json.dumps({"device": given.device, "rows": run(given.device)}, indent=1) + "\n", encoding="utf-8")
    print(table(json.loads(path.read_text(encoding="utf-8"))), end="")


if __name__ == "__main__":
    main()
