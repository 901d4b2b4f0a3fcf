"""Plan of an export with fewer bits: llm-compressor's scheme, the calibration rows, and what a machine without a GPU has to expect."""

from entrypoint.plan.counted_shape import positions_of
from schemas.errors import UsageError
from schemas.export import Awq, Calibrated, Fp8, Gptq, Int8
from schemas.export_job import CompressJob
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.spec import Spec

Compressed = Fp8 | Int8 | Awq | Gptq

LENGTH = 2048
"""Tokens of a calibration row at most: what llm-compressor's own recipes use."""

GROUPS = (128, 64, 32)
"""Weights that may share a scale of 4-bit weights, the usual first."""

BLOCK = 128
"""Rows and columns of a block of fp8."""

SOURCE = "llm-compressor 0.14"


def compress_job(spec: Spec, entry: Compressed, facts: Facts) -> CompressJob:
    """What llm-compressor is told. Raises UsageError for sizes that the format cannot divide."""
    known = facts.models.get(spec.model.source)
    config = known.config if known else {}
    positions = positions_of(known)
    if isinstance(entry, Fp8):
        if entry.scheme == "block":
            _check_divides(config, BLOCK, "scheme: block", "write scheme: dynamic")
        return CompressJob(scheme="FP8_BLOCK" if entry.scheme == "block" else "FP8_DYNAMIC")
    length = entry.calibration_length or min(LENGTH, positions or LENGTH)
    if positions and length > positions:
        raise UsageError(f"export.calibration_length: {length} tokens, but the model has {positions} positions", f"write {positions} or less")
    common = {"rows": entry.calibration_rows, "length": length, "seed": spec.train.seed}
    if isinstance(entry, Int8):
        return CompressJob(scheme="W8A8", **common)
    size: int = entry.group_size or next((given for given in GROUPS if not _undivided(config, given)), GROUPS[-1])
    _check_divides(config, size, f"group_size: {size}", "write a smaller one, or kind: int8")
    return CompressJob(scheme="W4A16_ASYM" if isinstance(entry, Awq) else "W4A16", group_size=size, **common)


def _check_divides(config: dict[str, object], size: int, what: str, fix: str) -> None:
    """Raise UsageError where a width of the model is no multiple of the group."""
    if key := _undivided(config, size):
        raise UsageError(f"export: {what}, but the model's {key} {config[key]} is no multiple of {size}", fix)


def _undivided(config: dict[str, object], size: int) -> str:
    """The first width that is no multiple; empty where there is none."""
    widths = {key: config.get(key) for key in ("hidden_size", "intermediate_size")}
    return next((key for key, width in widths.items() if isinstance(width, int) and width % size), "")


def compress_words(entry: Compressed, job: CompressJob, field: str, facts: Facts) -> list[Decision]:
    """What is done, and what it needs."""
    words = {
        "FP8_DYNAMIC": "8-bit floating point, a scale for each output and each token",
        "FP8_BLOCK": "8-bit floating point, a scale for each 128 x 128 weights",
        "W8A8": "8-bit integers, weights by GPTQ, activations by token",
        "W4A16": f"4-bit weights by GPTQ, a scale for each {job.group_size}",
        "W4A16_ASYM": f"4-bit weights by AWQ, a scale and a zero for each {job.group_size}",
    }
    found = [Decision(field=f"{field}.kind", value=f"{entry.kind}: {job.scheme}", why=words[job.scheme], source=SOURCE)]
    if isinstance(entry, Calibrated):
        why = "training rows, as prepared; 512 is llm-compressor's default" if entry.calibration_rows == 512 else "set in the spec"
        found.append(Decision(field=f"{field}.calibration_rows", value=f"{job.rows}, of {job.length:,} tokens at most", why=why, source=SOURCE))
        if facts.device == "cpu":
            why = "no GPU here: the rows go through the model on the processor, hours for models of billions of weights; fewer rows take less"
            found.append(Decision(field=f"{field}.device", value="cpu", why=why))
    return found
