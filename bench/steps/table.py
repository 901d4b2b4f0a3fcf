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

from choice import choices  # noqa: E402
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
    return "median {:.1%}, p95 {:.1%}, worst {:.1%}".format(*numbers(errors))


def numbers(errors: list[float]) -> tuple[float, float, float]:
    """Median, 95 of a hundred and worst of what they are off by."""
    found = sorted(map(abs, errors))
    return statistics.median(found), found[min(len(found) - 1, int(0.95 * len(found)))], found[-1]


def memory(rows: list[dict[str, Any]], of: str, every: bool) -> None:
    """Peak allocated, beside what the usual estimators say."""
    fitting = [row for row in rows if "peak" in row]
    said = {"plan": lambda row: caisson(row, "cuda")[0], "accelerate": accelerate_says, "DeepSpeed": deepspeed_says}
    print(f"\n## Memory, {of}, {len(fitting)} rows\n\n| estimator | |\n|---|---|")
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


def times(rows: list[dict[str, Any]], of: str, rates: Rates, every: bool) -> None:
    fitting = [row for row in rows if "seconds" in row]
    errors = [seconds(row, rates)[0] / row["seconds"] - 1 for row in fitting]
    print(f"\n## Time of a step, {of}, {len(fitting)} rows\n\n| rows | |\n|---|---|\n| all | {spread(errors)} |")
    idle = {id(row): waits(row, rates) for row in fitting}
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


def outcome(row: dict[str, Any]) -> str:
    """What the plan says of whether it fits."""
    return "fits" if fit_of(shape_of(row), load_of(row), H100).fits else "does not"


def attempts(rows: list[dict[str, Any]]) -> None:
    """How many there are, and whether any that the plan takes ran out of memory."""
    ran, out = [row for row in rows if "seconds" in row], [row for row in rows if "seconds" not in row]
    print(f"\n## Attempts\n\n{len(rows)}: {len(ran)} ran, {len(out)} ran out of memory.")
    print(f"Of those that ran the plan refuses {sum(outcome(row) == 'does not' for row in ran)}, which its margin of a tenth keeps away from the edge.")
    print(f"Of those that ran out of memory it takes {sum(outcome(row) == 'fits' for row in out)}.")


GOALS = {"memory": (0.02, 0.04, 0.08), "time": (0.05, 0.10, None)}
"""Median, p95, worst."""


def verdict(errors: list[float], goals: tuple[float, float, float | None]) -> str:
    found = zip(("median", "p95", "worst"), numbers(errors), goals, strict=True)
    missed = [name for name, size, goal in found if goal is not None and round(size, 3) > goal]
    return "missed: " + ", ".join(missed) if missed else "met"


def totals(groups: dict[str, list[dict[str, Any]]], rates: Rates) -> None:
    """Both goals by group of rows, and the time by how much of a step the GPU waits for its host."""
    print("\n## Against the goals\n\n| rows | memory (goal 2%, 4%, 8%) | | time (goal 5%, 10%) | |\n|---|---|---|---|---|")
    for name, rows in groups.items():
        memory_off = [caisson(row, "cuda")[0] / row["peak"] - 1 for row in rows]
        time_off = [seconds(row, rates)[0] / row["seconds"] - 1 for row in rows]
        print(
            f"| {name} ({len(rows)}) | {spread(memory_off)} | {verdict(memory_off, GOALS['memory'])} | {spread(time_off)} | {verdict(time_off, GOALS['time'])} |"
        )
    print("\n| part of a step that the GPU waits, as planned | transformers' kernels | | Liger's | |\n|---|---|---|---|---|")
    for low, high in ((0, 0.05), (0.05, 0.2), (0.2, 0.4), (0.4, 1.0)):
        shown = [f"{low:.0%} to {high:.0%}"]
        for kernels in ("torch", "liger"):
            mine = [row for rows in list(groups.values())[:3] for row in rows if row.get("kernels", "torch") == kernels and low <= waits(row, rates) < high]
            errors = [seconds(row, rates)[0] / row["seconds"] - 1 for row in mine]
            shown += [f"{spread(errors)} ({len(mine)})", verdict(errors, GOALS["time"])] if errors else ["none", ""]
        print(f"| {' | '.join(shown)} |")


def waits(row: dict[str, Any], rates: Rates) -> float:
    """Part of a step."""
    told, parts = seconds(row, rates)
    return parts.get("waiting for launches", 0.0) / told


def name_of(row: dict[str, Any]) -> str:
    return f"{row['shape']} {row['adapter']} {row['batch']} x {row['length']}{' again' if row['checkpointing'] else ''} {row['loss']}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--rows", action="store_true")
    given = parser.parse_args()
    rates = Rates.model_validate(json.loads((HERE / f"{given.name}-rates.json").read_text())["measured"][0])
    grid, sweep = read(HERE / f"{given.name}-grid.jsonl"), read(HERE / f"{given.name}-sweep.jsonl")
    of = {kind: [row for row in sweep if row["kernels"] == kind] for kind in ("torch", "liger")}
    ran = {name: [row for row in rows if "seconds" in row] for name, rows in {"grid": grid, "sweep, torch": of["torch"], "sweep, liger": of["liger"]}.items()}
    every = [row for rows in ran.values() for row in rows]
    attempts([*grid, *sweep])
    busy = [row for row in every if row.get("kernels", "torch") == "torch" and waits(row, rates) < 0.05]
    totals({**ran, "all": every, "torch, the GPU waits for less than 5% of the step": busy}, rates)
    for name, rows in (("grid", grid), ("sweep, torch", of["torch"]), ("sweep, liger", of["liger"])):
        memory(rows, name, given.rows)
        times(rows, name, rates, given.rows)
    choices(sweep, rates, spread)


if __name__ == "__main__":
    main()
