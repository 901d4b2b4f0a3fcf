"""What the plan says of the measured rows: memory, time of a step, and the setting that it would choose.

`python bench/steps/table.py NAME`, where NAME-grid.jsonl, NAME-sweep.jsonl and NAME-rates.json lie here. Prints markdown; `--rows` with every row.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent / "memory")]

from predict import accelerate_says, caisson, deepspeed_says, load_of, shape_of  # noqa: E402
from rows import KINDS  # noqa: E402

from entrypoint.plan.fit import fit_of  # noqa: E402
from entrypoint.plan.time_model import step_speed  # noqa: E402
from schemas.facts import Facts  # noqa: E402
from schemas.rates import Rates  # noqa: E402

GIB = 2**30
H100 = Facts.model_validate_json((ROOT / "entrypoint" / "machines" / "h100.json").read_text())


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def seconds(row: dict[str, Any], rates: Rates) -> tuple[float, dict[str, float]]:
    """Of a step, as the plan says."""
    speed = step_speed(shape_of(row), load_of(row), rates, 1, row["batch"] * row["length"], row["length"])
    return speed.seconds, speed.parts


def spread(errors: list[float]) -> str:
    found = sorted(map(abs, errors))
    return f"median {statistics.median(found):.1%}, p95 {found[min(len(found) - 1, int(0.95 * len(found)))]:.1%}, worst {found[-1]:.1%}"


def memory(rows: list[dict[str, Any]], every: bool) -> None:
    """Peak allocated, beside what the usual estimators say."""
    fitting = [row for row in rows if "peak" in row]
    said = {"plan": lambda row: caisson(row, "cuda")[0], "accelerate": accelerate_says, "DeepSpeed": deepspeed_says}
    print(f"\n## Memory, {len(fitting)} rows\n\n| estimator | |\n|---|---|")
    for name, says in said.items():
        print(f"| {name} | {spread([says(row) / row['peak'] - 1 for row in fitting])} |")
    for shape, adapter in KINDS:
        mine = [row for row in fitting if (row["shape"], row["adapter"]) == (shape, adapter)]
        if mine:
            print(f"| plan, {shape} {adapter} ({len(mine)}) | {spread([caisson(row, 'cuda')[0] / row['peak'] - 1 for row in mine])} |")
    if every:
        print("\n| row | measured, GiB | plan | off by | moment |\n|---|---|---|---|---|")
        for row in fitting:
            told, moment = caisson(row, "cuda")
            print(f"| {name_of(row)} | {row['peak'] / GIB:.2f} | {told / GIB:.2f} | {told / row['peak'] - 1:+.1%} | {moment} |")


def times(rows: list[dict[str, Any]], rates: Rates, every: bool, kernels: str = "torch") -> None:
    fitting = [row for row in rows if "seconds" in row and row.get("kernels", "torch") == kernels]
    errors = [seconds(row, rates)[0] / row["seconds"] - 1 for row in fitting]
    print(f"\n## Time of a step, {kernels}, {len(fitting)} rows\n\n| rows | |\n|---|---|\n| all | {spread(errors)} |")
    idle = {id(row): seconds(row, rates)[1].get("waiting for launches", 0.0) / seconds(row, rates)[0] for row in fitting}
    for name, mine in (
        ("the GPU waits for less than 5% of the step", [row for row in fitting if idle[id(row)] < 0.05]),
        ("it waits for more", [row for row in fitting if idle[id(row)] >= 0.05]),
    ):
        print(f"| {name} ({len(mine)}) | {spread([seconds(row, rates)[0] / row['seconds'] - 1 for row in mine])} |")
    for shape, adapter in KINDS:
        mine = [row for row in fitting if (row["shape"], row["adapter"]) == (shape, adapter)]
        if mine:
            print(f"| {shape} {adapter} ({len(mine)}) | {spread([seconds(row, rates)[0] / row['seconds'] - 1 for row in mine])} |")
    if every:
        print("\n| row | measured, s | plan | off by | parts |\n|---|---|---|---|---|")
        for row in fitting:
            told, parts = seconds(row, rates)
            shown = ", ".join(f"{name} {size:.3f}" for name, size in parts.items())
            print(f"| {name_of(row)} | {row['seconds']:.3f} | {told:.3f} | {told / row['seconds'] - 1:+.0%} | {shown} |")


def choices(rows: list[dict[str, Any]], rates: Rates) -> None:
    """Of each job the setting with the best predicted speed among those predicted to fit, against the best that was measured."""
    print(
        "\n## Choice\n\n| job | planned | its tok/s | best measured | its tok/s | behind by | TRL's defaults | faster by |\n|---|---|---|---|---|---|---|---|"
    )
    behind = []
    for shape, adapter in KINDS:
        for length in (1024, 4096):
            mine = [r for r in rows if (r["shape"], r["adapter"], r["length"]) == (shape, adapter, length)]
            if not any(row["kernels"] == "liger" for row in mine):
                print(f"| {shape} {adapter} {length}, Liger not measured | | | | | | | |")
            ran = [row for row in mine if "seconds" in row]
            if not ran:
                continue
            best = max(ran, key=rate)
            (usual,) = (row for row in ran if (row["batch"], row["checkpointing"], row["kernels"]) == (8, True, "torch"))
            fits = [row for row in mine if fit_of(shape_of(row), load_of(row), H100).fits]
            planned = min(fits, key=lambda row: seconds(row, rates)[0] / row["batch"])
            if "seconds" not in planned:
                print(f"| {shape} {adapter} {length} | {setting(planned)} | does not fit | {setting(best)} | {rate(best):,.0f} | | | |")
                continue
            behind.append(1 - rate(planned) / rate(best))
            print(
                f"| {shape} {adapter} {length} | {setting(planned)} | {rate(planned):,.0f} | {setting(best)} | {rate(best):,.0f} | {behind[-1]:.1%} | {rate(usual):,.0f} | {rate(planned) / rate(usual):.2f} |"
            )
    print(f"\nbehind: {spread(behind)}")


def rate(row: dict[str, Any]) -> float:
    return float(row["batch"] * row["length"] / row["seconds"])


def setting(row: dict[str, Any]) -> str:
    return f"{row['batch']} rows{', recomputed' if row['checkpointing'] else ''}, {row['kernels']}"


def name_of(row: dict[str, Any]) -> str:
    return f"{row['shape']} {row['adapter']} {row['batch']} x {row['length']}{' again' if row['checkpointing'] else ''} {row['loss']}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--rows", action="store_true")
    given = parser.parse_args()
    rates = Rates.model_validate(json.loads((HERE / f"{given.name}-rates.json").read_text())["measured"][0])
    grid, sweep = read(HERE / f"{given.name}-grid.jsonl"), read(HERE / f"{given.name}-sweep.jsonl")
    memory(grid, given.rows)
    times(grid, rates, given.rows)
    times(sweep, rates, given.rows)
    memory([row for row in sweep if row["kernels"] == "liger"], given.rows)
    times(sweep, rates, given.rows, "liger")
    choices(sweep, rates)


if __name__ == "__main__":
    main()
