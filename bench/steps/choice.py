"""What the planner itself takes for the jobs of the sweep, beside the best that was measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rows import KINDS, TOKENS

from entrypoint.plan import Inputs, plan_train
from schemas.facts import Facts, ModelFacts
from schemas.job import TrainJob
from schemas.load import load
from schemas.plan import Plan
from schemas.rates import Rates

HERE = Path(__file__).resolve().parent
SHAPES = json.loads((HERE.parent / "memory" / "shapes.json").read_text(encoding="utf-8"))
H100 = Facts.model_validate_json((HERE.parents[1] / "entrypoint" / "machines" / "h100.json").read_text(encoding="utf-8"))

SPEC = """spec: 1
name: job
model: {{source: /models/shape}}
data: {{train: [{{source: /data/rows.jsonl}}], max_length: {length}, pack_length: {length}}}
method: {{kind: sft}}
adapter: {{kind: {adapter}}}
train: {{learning_rate: 1.0e-5, batch_tokens: {tokens}}}
"""
"""Packs of one length, as the measured rows are: every token counts, and each sees those before it."""


def planned(shape: str, adapter: str, length: int, tokens: int, rates: Rates) -> Plan:
    """As `caisson plan SPEC --config CONFIG --facts h100` on a store that has these rates."""
    facts = H100.model_copy(update={"models": {"/models/shape": ModelFacts(config=SHAPES[shape])}, "rates": rates})
    return plan_train(load(SPEC.format(length=length, adapter=adapter, tokens=tokens)), facts, Inputs())


def choices(rows: list[dict[str, Any]], rates: Rates, spread: Callable[[list[float]], str]) -> None:
    """Two questions of each job: a step of 65,536 tokens, and one of as many as the best that was measured computes at once."""
    for title, whole in ((f"a step of {TOKENS:,} tokens", True), ("a step of the best measured setting's tokens", False)):
        print(f"\n## Choice of the planner, {title}\n")
        print("| job | the plan | it says, tok/s | was measured | best measured | tok/s | behind by | TRL's defaults, tok/s | faster by |")
        print("|---|---|---|---|---|---|---|---|---|")
        behind, counted = [], {"the best": 0, "behind": 0, "not measured": 0}
        for shape, adapter in KINDS:
            for length in (1024, 4096):
                mine = [row for row in rows if (row["shape"], row["adapter"], row["length"]) == (shape, adapter, length)]
                ran = [row for row in mine if "seconds" in row]
                best = max(ran, key=rate)
                plan = planned(shape, adapter, length, TOKENS if whole else best["batch"] * length, rates)
                job, mark = job_of(plan), "" if any(row["kernels"] == "liger" for row in mine) else " *"
                said = next(one.value for one in plan.decisions if one.field == "speed").removesuffix(" tok/s")
                setting = (job.micro_batch, job.gradient_checkpointing, job.kernels)
                (usual,) = (row for row in ran if (row["batch"], row["checkpointing"], row["kernels"]) == (8, True, "torch"))
                same = [row for row in mine if (row["batch"], row["checkpointing"], row["kernels"]) == setting]
                if any("seconds" not in row for row in same):
                    raise SystemExit(f"{shape} {adapter} {length}: the plan takes a setting that ran out of memory")
                shown, off, times = "no", "", ""
                if same:
                    behind.append(1 - rate(same[0]) / rate(best))
                    shown, off, times = f"{rate(same[0]):,.0f}", f"{behind[-1]:.1%}", f"{rate(same[0]) / rate(usual):.2f}"
                counted["not measured" if not same else "the best" if same[0] is best else "behind"] += 1
                print(
                    f"| {shape} {adapter} {length}{mark} | {words(*setting)}, x {job.accumulation} | {said} | {shown} | "
                    f"{words(best['batch'], best['checkpointing'], best['kernels'])} | {rate(best):,.0f} | {off} | {rate(usual):,.0f} | {times} |"
                )
        print("\n" + "; ".join(f"{name}: {count}" for name, count in counted.items()) + f"; behind, of those measured: {spread(behind)}")
    print("\n\\* Liger was not measured.")


def job_of(plan: Plan) -> TrainJob:
    job = plan.steps[0].job
    assert isinstance(job, TrainJob)
    return job


def rate(row: dict[str, Any]) -> float:
    return float(row["batch"] * row["length"] / row["seconds"])


def words(batch: int, again: bool | str, kernels: str) -> str:
    return f"{batch} rows{'' if not again else ', recomputed' if again is True else ', selective'}, {kernels}"
