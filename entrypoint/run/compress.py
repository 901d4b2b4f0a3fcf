"""Leaf of the stage export: a merged model in fewer bits, and how near it stays. `python -m entrypoint.run.compress TASK`."""

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

from entrypoint.run.calibration import draw, loader
from entrypoint.run.events import Events, say
from entrypoint.run.golden_answers import FILE_NAME, ask, read_answers
from entrypoint.run.greedy import compare
from entrypoint.run.leaf import judging, run_leaf
from entrypoint.run.parity import FILE_NAME as PARITY
from entrypoint.run.parity import write_parity
from entrypoint.run.peak import Peak
from entrypoint.run.quality import Asked, Quality, measure, references
from entrypoint.run.stale import clear
from entrypoint.run.transfer import folder_bytes
from entrypoint.run.tuned import load_exported
from schemas.errors import GateRefused
from schemas.export_job import CompressJob, ExportJob
from schemas.job import Task

LEAST_AGREEMENT = {"fp8": 0.8, "int8": 0.8, "awq": 0.5, "gptq": 0.5}
"""Share of tokens that must stay the first choice. Far below what a sound export has: what falls below it was broken, not rounded."""

NOT_QUANTISED = ["lm_head", "re:.*mlp.gate$", "re:.*router$"]
"""The output head, and what sends tokens to experts: small, and the most sensitive."""


def compress(task: Task, events: Events) -> dict[str, Any]:
    """Fill task.output with a model folder in the compressed-tensors format, golden_answers.json and parity.json."""
    from entrypoint.run.quiet import hush

    hush()
    assert isinstance(task.job, ExportJob) and task.job.compress
    job, output, source = task.job, Path(task.output), Path(task.inputs["merged"])
    clear(output)
    start = time.monotonic()
    golden, answers = read_answers(source)
    asked = _reference_answers(source)
    say(f"  asks the bf16 model what it is compared on: {sum(len(ids) for _, ids in asked)} tokens of {len(asked)} answers")
    expected = references(load_exported(source), asked)
    peak, began = Peak(), time.monotonic()
    rows = _write(source, Path(task.inputs["prepared"]), output, task.job.compress)
    found = {"calibration_rows": rows, "compress_seconds": round(time.monotonic() - began, 1), "compress_peak_bytes": peak.since()}
    shutil.copy(source / FILE_NAME, output / FILE_NAME)
    say("  loads the compressed folder back and compares")
    model = load_exported(output)
    quality = measure(expected, model, asked)
    after = ask(model, golden, job.golden_tokens)
    verdicts = [compare(b, a) for b, a in zip(answers, after, strict=True)]
    write_parity(output, golden, answers, after, verdicts)
    same = sum(given.ids == ids for given, (_, ids) in zip(after, asked, strict=True))
    say(f"  against bf16: KL {quality.kl_per_token:.5f} nats a token, {quality.agreement:.2%} of tokens agree, {same} of {len(asked)} whole answers are equal")
    events.write("quality", kind=job.kind, kl_per_token=quality.kl_per_token, agreement=quality.agreement, tokens=quality.tokens)
    _judge(job.kind, quality)
    return {
        **found,
        "golden": len(golden),
        "kl_per_token": round(quality.kl_per_token, 6),
        "greedy_agreement": round(quality.agreement, 6),
        "tokens": quality.tokens,
        "equal_answers": same,
        "bytes": folder_bytes(output),
        "bytes_bf16": sum(path.stat().st_size for path in source.glob("*.safetensors")),
        "seconds": round(time.monotonic() - start, 1),
        "peak_bytes": peak.whole(),
    }


def _reference_answers(source: Path) -> list[Asked]:
    """The merged model's own answers, as its parity.json has them."""
    rows = json.loads((source / PARITY).read_text(encoding="utf-8"))
    return [(row["prompt_ids"], row["exported_ids"]) for row in rows]


def _write(source: Path, prepared: Path, output: Path, job: CompressJob) -> int:
    """Compress by llm-compressor; the number of rows that were used."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = draw(prepared, job.rows, job.length, job.seed) if job.rows else []
    if job.rows and len(rows) < job.rows:
        say(f"  there are only {len(rows)} training rows to calibrate with, of {job.rows} wanted")
    say(f"  compresses to {job.scheme}{f', fitted on {len(rows)} training rows' if rows else ''}")
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    with judging(f"llm-compressor cannot write this model as {job.scheme}", "export it as safetensors or fp8, or report it to llm-compressor"):
        from llmcompressor import configure_logger, oneshot
        from llmcompressor.logger import LoggerConfig

        configure_logger(LoggerConfig(console_log_level="ERROR"))
        _leave_unpinned()
        model: Any = AutoModelForCausalLM.from_pretrained(source, local_files_only=True, dtype=torch.bfloat16)
        dataset = {"dataset": loader(rows), "num_calibration_samples": len(rows), "max_seq_length": job.length} if rows else {}
        pipeline = {"pipeline": "sequential" if rows else "datafree"}
        oneshot(model=model, tokenizer=tokenizer, recipe=recipe(job), **dataset, **pipeline)
        model.save_pretrained(output, save_compressed=True)
    tokenizer.save_pretrained(output)
    return len(rows)


def _leave_unpinned() -> None:
    """Without an accelerator no memory can be pinned for it: AWQ of llm-compressor 0.14 asks for it all the same, and fails."""
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    if not torch.accelerator.is_available():
        IntermediatesCache.pin_memory = lambda *_, **__: None


def recipe(job: CompressJob) -> list[Any]:
    """llm-compressor's modifiers for a scheme."""
    from compressed_tensors.quantization import preset_name_to_scheme
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier

    scheme = preset_name_to_scheme(job.scheme, ["Linear"])
    if job.group_size:
        scheme.weights.group_size = job.group_size
    said: dict[str, Any] = {"config_groups": {"group_0": scheme}, "ignore": NOT_QUANTISED}
    if job.scheme == "W4A16_ASYM":
        return [AWQModifier(), QuantizationModifier(**said)]
    if job.rows:
        return [GPTQModifier(**said)]
    return [QuantizationModifier(**said)]


def _judge(kind: str, quality: Quality) -> None:
    """Raise GateRefused for a folder that answers at random."""
    if not math.isfinite(quality.kl_per_token) or quality.agreement < LEAST_AGREEMENT[kind]:
        raise GateRefused(
            f"as {kind} the model is not the same any more: {quality.agreement:.0%} of tokens agree with bf16, {LEAST_AGREEMENT[kind]:.0%} are wanted; "
            f"KL {quality.kl_per_token:.3f} nats a token",
            "the export is not sealed; take a format with more bits, or calibrate on more rows",
        )


if __name__ == "__main__":
    run_leaf(compress)
