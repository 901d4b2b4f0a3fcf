"""A folder with the merged model: weights, config, tokenizer and template. Of a QLoRA adapter in the form that is nearer to what was trained."""

import shutil
import time
from pathlib import Path
from typing import Any

from entrypoint.run.events import say
from entrypoint.run.greedy import Answer
from entrypoint.run.merge import Change, NotByTensor, Skeleton, build, merge
from entrypoint.run.merge_whole import merge_whole
from entrypoint.run.nf4 import through_nf4
from entrypoint.run.peak import Peak
from entrypoint.run.quality import Asked, distance
from entrypoint.run.tuned import is_adapter, load_exported
from schemas.errors import UsageError
from schemas.export_job import ExportJob

WORDS = {"full": "the full-precision base", "nf4": "the NF4 weights, back in bf16"}
BY_TENSOR = "by tensor"
OTHER = ".other"
"""Folder of the second of two merges that are compared."""


def write_merged(
    base: Path, weights: Path, output: Path, job: ExportJob, golden: list[dict[str, Any]], answers: list[Answer], judge: bool = False
) -> dict[str, Any]:
    """Write the folder; what is said of it in the manifest."""
    peak = Peak()
    start = time.monotonic()
    found: dict[str, Any]
    if not is_adapter(weights):
        found = {"merged": _merge(weights, weights, output, judge, None)[0]}
    elif job.trained_on == "full" or judge:
        way, lost = _merge(base, weights, output, judge, None)
        found = {"merged": way, "merged_into": "full", **_lost(lost)}
    else:
        found = _merge_measured(base, weights, output, job, golden, answers)
    found |= {"merge_seconds": round(time.monotonic() - start, 1), "merge_peak_bytes": peak.since(), "peak_bytes": peak.whole()}
    _write_tokenizer(weights, output)
    return found


def _merge(base: Path, weights: Path, output: Path, judge: bool, into: str | None, compute: Any = None) -> tuple[str, float | None]:
    """BY_TENSOR, or why not, and how much of the update was lost by rounding, where that is known; `into` nf4: the base as it was held in 4 bits."""
    try:
        skeleton = build(base, judge, weights if is_adapter(weights) else None)
        if judge:
            skeleton.model.config.pad_token_id = _tokenizer(weights).pad_token_id  # by it the end of a row is found
        merge(base, skeleton, output, _through_nf4(skeleton, compute) if into == "nf4" else None)
        return BY_TENSOR, skeleton.moved.lost
    except NotByTensor as reason:
        say(f"  merges the whole model in memory: {reason}")
        for draft in output.glob("*.draft"):
            draft.unlink()
        if into == "nf4":
            raise UsageError(f"export: merge_into: nf4, but {reason}: only tensor by tensor are NF4 weights put back", "write merge_into: full") from None
        merge_whole(base, weights, output, judge)
        return f"whole: {reason}", None


def _through_nf4(skeleton: Skeleton, compute: Any) -> Change:
    def change(name: str, tensor: Any) -> Any:
        return through_nf4(tensor, compute, name in skeleton.transposed) if name in skeleton.linear else tensor.to(compute)

    return change


def _merge_measured(base: Path, weights: Path, output: Path, job: ExportJob, golden: list[dict[str, Any]], answers: list[Answer]) -> dict[str, Any]:
    """Into both forms of the base, and keep the one whose log-probabilities of the golden answers are nearer to those of training."""
    import torch

    compute = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[job.precision]
    asked: list[Asked] = [(one["prompt_ids"], given.ids) for one, given in zip(golden, answers, strict=True)]
    recorded = [given.logprobs for given in answers]
    wanted = ("full", "nf4") if job.merge_into == "measured" else (job.merge_into,)
    distances: dict[str, float] = {}
    ways: dict[str, tuple[str, float | None]] = {}
    for into in wanted:
        if into == "nf4" and "full" in ways and ways["full"][0] != BY_TENSOR:
            say(f"  does not merge into {WORDS[into]}: only tensor by tensor are they put back")
            continue
        place = output if len(distances) == 0 else output / OTHER
        place.mkdir(exist_ok=True)
        ways[into] = _merge(base, weights, place, False, into, compute)
        distances[into] = distance(load_exported(place), asked, recorded)
        say(f"  merged into {WORDS[into]}: log-probabilities of the golden answers move by {distances[into]:.4f} nats on average")
    best = min(distances, key=lambda into: distances[into])
    if len(distances) == 2:
        say(f"  keeps the one merged into {WORDS[best]}")
        _keep(output, best == "nf4")
    way, lost = ways[best]
    return {"merged": way, "merged_into": best, **_lost(lost), "distance": {into: round(value, 6) for into, value in distances.items()}}


def _lost(share: float | None) -> dict[str, float]:
    return {} if share is None else {"lost_by_rounding": round(share, 4)}


def _keep(output: Path, second: bool) -> None:
    """Leave one of two merges in `output`."""
    other = output / OTHER
    if second:
        for path in other.iterdir():
            path.replace(output / path.name)
    shutil.rmtree(other)


def _write_tokenizer(weights: Path, output: Path) -> None:
    """Tokenizer and template are those of training."""
    _tokenizer(weights).save_pretrained(output)


def _tokenizer(weights: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(weights, local_files_only=True)
