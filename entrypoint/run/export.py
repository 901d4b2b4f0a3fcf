"""Leaf of the stage export: trained weights merged into one folder, proven to answer as they did before. `python -m entrypoint.run.export TASK`."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from entrypoint.run.adapter_export import write_adapter
from entrypoint.run.events import Events, say
from entrypoint.run.golden_answers import FILE_NAME, ask, write_answers
from entrypoint.run.greedy import Answer
from entrypoint.run.leaf import run_leaf
from entrypoint.run.merged_folder import write_merged
from entrypoint.run.parity import OTHER_BASE, ROUNDED, check_answers
from entrypoint.run.peak import peak_bytes
from entrypoint.run.reward_head import allowed, is_judge, largest_difference, load_merged, load_trained, reward
from entrypoint.run.seal import read_manifest
from entrypoint.run.stale import clear
from entrypoint.run.transfer import folder_bytes
from entrypoint.run.tuned import load_exported, load_tuned
from entrypoint.run.weights import WEIGHTS
from schemas.errors import GateRefused
from schemas.export_job import ExportJob
from schemas.job import Task


def export(task: Task, events: Events) -> dict[str, Any]:
    """Fill task.output with a model folder or an adapter, golden_answers.json and parity.json."""
    from entrypoint.run.quiet import hush

    hush()
    assert isinstance(task.job, ExportJob)
    job, output = task.job, Path(task.output)
    clear(output)  # nothing of an attempt that was stopped is used again
    base, weights = Path(task.inputs["model"]), Path(task.inputs["trained"]) / WEIGHTS
    _check_base(base, job)
    golden = json.loads((Path(task.inputs["prepared"]) / "golden.json").read_text(encoding="utf-8"))
    start = time.monotonic()
    if is_judge(weights):
        found = _export_judge(base, weights, output, job, golden, events)
    else:
        answers, precision = _answer(task, golden, output)
        if job.kind == "adapter":
            found = {"golden": len(golden), **write_adapter(base, weights, output)}
        else:
            found = _export_merged(base, weights, output, job, golden, answers, precision, events)
        found |= {"answered_in": precision} if precision else {}
    peak = max(peak_bytes(), found.get("peak_bytes", 0))
    return {**found, "bytes": folder_bytes(output), "seconds": round(time.monotonic() - start, 1), "peak_bytes": peak}


def _check_base(base: Path, job: ExportJob) -> None:
    """Raise GateRefused where the base is not the one that was trained on, byte by byte as it was sealed."""
    manifest = read_manifest(base)
    if job.base and (manifest is None or manifest.content != job.base):
        raise GateRefused(
            f"the base in {base} is not the one that was trained on: its content is {manifest.content[:16] if manifest else 'not sealed'}, not {job.base[:16]}",
            "an adapter fits only the base that it was trained on: fetch that one again, or train on this one",
        )


def _answer(task: Task, golden: list[dict[str, Any]], output: Path) -> tuple[list[Answer], str]:
    """The tuned model's own answers, written first, and the precision they were computed in; an earlier export of the same weights has them already."""
    job = task.job
    assert isinstance(job, ExportJob)
    if "merged" in task.inputs:
        shutil.copy(Path(task.inputs["merged"]) / FILE_NAME, output / FILE_NAME)
        return [], ""
    model = load_tuned(Path(task.inputs["model"]), Path(task.inputs["trained"]) / WEIGHTS, job)
    precision = str(model.dtype).removeprefix("torch.").replace("bfloat", "bf").replace("float", "fp")
    say(
        f"  answers {len(golden)} golden prompts with the tuned model in {precision}{', over the NF4 weights that it was trained on' if job.trained_on == 'nf4' else ''}"
    )
    answers = ask(model, golden, job.golden_tokens)
    write_answers(output, golden, answers)
    return answers, precision


def _export_merged(
    base: Path, weights: Path, output: Path, job: ExportJob, golden: list[dict[str, Any]], answers: list[Answer], precision: str, events: Events
) -> dict[str, Any]:
    found = write_merged(base, weights, output, job, golden, answers)
    say("  loads the merged folder back and answers them again")
    after = ask(load_exported(output), golden, job.golden_tokens)
    factor = OTHER_BASE if job.trained_on == "nf4" else 1.0 if precision == "fp32" else ROUNDED
    return {**found, **check_answers(output, golden, answers, after, factor, events, found.get("lost_by_rounding"))}


def _export_judge(base: Path, weights: Path, output: Path, job: ExportJob, golden: list[dict[str, Any]], events: Events) -> dict[str, Any]:
    """A reward model writes no answers: its rewards of the golden prompts are compared."""
    model, _ = load_trained(base, weights)
    before = [reward(model, g["prompt_ids"]) for g in golden]
    del model
    found = write_merged(base, weights, output, job, golden, [], judge=True)
    merged = load_merged(output)
    after = [reward(merged, g["prompt_ids"]) for g in golden]
    worst = largest_difference(before, after)
    rows = [{**g, "reward": b, "merged_reward": a} for g, b, a in zip(golden, before, after, strict=True)]
    (output / "parity.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    say(f"  the rewards of {len(golden)} golden prompts differ by at most {worst:.4f} after the merge")
    events.write("parity", of=len(golden), largest_difference=round(worst, 6))
    if not worst <= allowed(before):
        raise GateRefused(
            f"the merged reward model judges otherwise: rewards differ by {worst:.4f}, rounding moves them by less than {allowed(before):.4f}",
            "the export is not sealed; look at the adapter's targets and the base's revision",
        )
    return {**found, "golden": len(golden), "largest_reward_difference": round(worst, 6)}


if __name__ == "__main__":
    run_leaf(export)
