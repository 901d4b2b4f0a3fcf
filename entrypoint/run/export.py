"""Leaf of the stage export: trained weights merged into one folder, proven to answer as they did before. `python -m entrypoint.run.export TASK`."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from entrypoint.run.events import Events, say
from entrypoint.run.greedy import LARGEST_DIFFERENCE, Answer, answer, compare
from entrypoint.run.leaf import run_leaf
from entrypoint.run.load_model import load_plain
from entrypoint.run.reward_head import allowed, is_judge, largest_difference, load_merged, load_trained, reward
from entrypoint.run.weights import WEIGHTS
from schemas.errors import GateRefused
from schemas.export_job import ExportJob
from schemas.job import Task

SHARD_SIZE = "4GB"


def export(task: Task, events: Events) -> dict[str, Any]:
    """Fill task.output with a model folder and parity.json."""
    from entrypoint.run.quiet import hush

    hush()
    assert isinstance(task.job, ExportJob)
    job, output = task.job, Path(task.output)
    for old in output.iterdir():  # an attempt that was stopped
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    golden = json.loads((Path(task.inputs["prepared"]) / "golden.json").read_text(encoding="utf-8"))
    weights = Path(task.inputs["trained"]) / WEIGHTS
    start = time.monotonic()
    if is_judge(weights):
        return _export_judge(Path(task.inputs["model"]), weights, output, golden, events)
    model, adapted = _load_trained(Path(task.inputs["model"]), weights)
    say(f"  answers {len(golden)} golden prompts with the {'adapter on its base' if adapted else 'trained weights'}")
    before = [answer(model, g["prompt_ids"], job.golden_tokens) for g in golden]
    _write_merged(model, adapted, weights, output)
    del model
    say("  loads the merged folder back and answers them again")
    merged = load_plain(output)
    after = [answer(merged, g["prompt_ids"], job.golden_tokens) for g in golden]
    verdicts = [compare(b, a) for b, a in zip(before, after, strict=True)]
    _record(output, golden, before, after, verdicts)
    worst = max((v.largest_difference for v in verdicts), default=0.0)
    same, ties = sum(v.equal for v in verdicts), sum(v.tie for v in verdicts)
    say(f"  {same} of {len(golden)} answers are equal token for token, {ties} part at a near tie; log-probabilities differ by at most {worst:.4f}")
    events.write("parity", equal=same, ties=ties, of=len(golden), largest_difference=round(worst, 6), seconds=round(time.monotonic() - start, 1))
    _judge(golden, before, after, verdicts, output)
    return {"golden": len(golden), "equal": same, "near_ties": ties, "largest_logprob_difference": round(worst, 6)}


def _export_judge(base: Path, weights: Path, output: Path, golden: list[dict[str, Any]], events: Events) -> dict[str, Any]:
    """A reward model writes no answers: its rewards of the golden prompts are compared."""
    model, adapted = load_trained(base, weights)
    before = [reward(model, g["prompt_ids"]) for g in golden]
    _write_merged(model, adapted, weights, output)
    del model
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
    return {"golden": len(golden), "largest_reward_difference": round(worst, 6)}


def _load_trained(base: Path, weights: Path) -> tuple[Any, bool]:
    """The tuned model in fp32, and whether it is an adapter on a base."""
    if not (weights / "adapter_config.json").is_file():
        return load_plain(weights), False
    from peft import PeftModel

    return PeftModel.from_pretrained(load_plain(base), str(weights)).eval(), True


def _write_merged(model: Any, adapted: bool, weights: Path, output: Path) -> None:
    """Merge in fp32 and round to bf16 once; tokenizer and template are those of training."""
    import torch
    from transformers import AutoTokenizer

    whole = model.merge_and_unload(safe_merge=True) if adapted else model
    whole = whole.to(torch.bfloat16)
    whole.config.use_cache = True
    whole.config.dtype = torch.bfloat16
    whole.save_pretrained(output, safe_serialization=True, max_shard_size=SHARD_SIZE)
    AutoTokenizer.from_pretrained(weights, local_files_only=True).save_pretrained(output)


def _record(output: Path, golden: list[dict[str, Any]], before: list[Answer], after: list[Answer], verdicts: list[Any]) -> None:
    rows = [
        {
            **g,
            "answer_ids": b.ids,
            "logprobs": [round(p, 6) for p in b.logprobs],
            "merged_ids": a.ids,
            "equal": v.equal,
            "largest_difference": round(v.largest_difference, 6),
        }
        for g, b, a, v in zip(golden, before, after, verdicts, strict=True)
    ]
    (output / "parity.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _judge(golden: list[dict[str, Any]], before: list[Answer], after: list[Answer], verdicts: list[Any], output: Path) -> None:
    wrong = next((i for i, v in enumerate(verdicts) if not (v.equal or v.tie) or v.largest_difference > LARGEST_DIFFERENCE), None)
    if wrong is None:
        return
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(output, local_files_only=True)
    asked = golden[wrong]["messages"][-1]["content"]
    raise GateRefused(
        f"the merged model answers {asked!r} differently\n  before: {tokenizer.decode(before[wrong].ids)!r}\n  merged: {tokenizer.decode(after[wrong].ids)!r}",
        "the export is not sealed; look at the adapter's targets and the base's revision",
    )


if __name__ == "__main__":
    run_leaf(export)
