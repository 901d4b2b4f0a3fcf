"""Plan of the stage prepare: rows to token shards, through the data gate."""

from typing import Literal, cast

from entrypoint.plan.answers import plan_answers
from entrypoint.plan.counted_shape import positions_of
from entrypoint.plan.fetch import row_sources
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.plugins import OF_PREPARE, check_code, plugin_jobs
from entrypoint.plan.step import make_step
from entrypoint.plan.streaming import check_streaming
from schemas.data import NAMED_TEMPLATES, Columns, NamedTemplate, Rows
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.job import PART_TOKENS, PrepareJob, RowsJob
from schemas.method import LossOn
from schemas.plan import Decision, Plan
from schemas.spec import Spec

FALLBACK_LENGTH = 2048
"""Tokens; used while the model's config is not at hand."""


def plan_prepare(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """One step over the fetched model (for its tokenizer and template) and rows; a second one asks a teacher behind an endpoint about what the first made."""
    _, decision = row_limit(spec, facts)
    code = check_code(spec, facts, OF_PREPARE)
    _refuse_split(spec)
    decisions = [decision, *_template_decision(spec), *check_streaming(spec)]
    job = prepare_job(spec, facts, "head" if spec.data.streaming else None)
    wanted = {
        "data": spec.data.model_dump(mode="json", exclude={"packing", "pack_length"}),
        "rows": spec.method.rows,
        "loss_on": job.loss_on,
        "raw": job.raw,
        "seed": spec.train.seed,
        "preprocessor": job.preprocessor.model_dump(mode="json") if job.preprocessor else None,
    }
    roles = ("model", "data", "preprocessor") if job.preprocessor else ("model", "data")
    step = make_step(job, "rows to token shards", f"{spec.name}/prepared", facts, inputs, roles, wanted)
    return Plan(name=spec.name, steps=(step, *plan_answers(spec, facts, inputs, decisions)), decisions=(*decisions, *code))


def prepare_job(spec: Spec, facts: Facts, streaming: Literal["head", "rest"] | None) -> PrepareJob:
    """What the leaf is told; of rows that are streamed, prepare of the first part and train of the rest."""
    folders = {source: f"{at:02d}" for at, source in enumerate(row_sources(spec))}
    validation, template = spec.data.validation, spec.data.template
    return PrepareJob(
        method=spec.method.kind,
        rows=spec.method.rows,
        raw=spec.method.kind == "pretrain",
        train=tuple(_rows_job(r, folders[r.source], r.weight) for r in spec.data.train),
        validation=tuple(_rows_job(r, folders[r.source], 1.0) for r in validation) if isinstance(validation, tuple) else (),
        validation_share=0.0 if isinstance(validation, tuple) else validation,
        loss_on=_loss_on(spec),
        max_length=row_limit(spec, facts)[0],
        too_long=spec.data.too_long,
        max_rejected=spec.data.max_rejected,
        deduplicate=spec.data.deduplicate,
        preprocessor=plugin_jobs(spec, OF_PREPARE).get("preprocessor"),
        template="auto" if template is None else cast(NamedTemplate, template) if template in NAMED_TEMPLATES else "given",
        streaming=streaming,
        part_tokens=spec.data.part_tokens or PART_TOKENS,
        seed=spec.train.seed,
    )


def _rows_job(rows: Rows, folder: str, weight: float) -> RowsJob:
    columns = {ours: theirs for ours in Columns.model_fields if (theirs := getattr(rows.columns, ours)) is not None}
    return RowsJob(path=folder, source=rows.source, format=rows.format, columns=columns, weight=weight, max_rows=rows.max_rows)


def _loss_on(spec: Spec) -> LossOn:
    """Methods that learn from answers alone have no choice."""
    found: LossOn = getattr(spec.method, "loss_on", "assistant")
    return found


def _template_decision(spec: Spec) -> tuple[Decision, ...]:
    named = spec.data.template
    if named is None:
        return ()
    return (Decision(field="data.template", value=named, why="set in the spec; it replaces the model's own in training, export and serving"),)


def _refuse_split(spec: Spec) -> None:
    """Raise UsageError where rows of the method cannot be split so that each piece still teaches what it should."""
    if spec.data.too_long != "split":
        return
    if spec.method.rows != "text":
        raise UsageError(f"data.too_long: split cuts conversations between turns, {spec.method.kind} learns from whole answers", "write truncate or drop")
    if _loss_on(spec) == "last":
        raise UsageError(
            "data.too_long: split makes several rows of one, and method.loss_on: last learns one turn of each conversation", "write truncate or drop"
        )


def row_limit(spec: Spec, facts: Facts) -> tuple[int, Decision]:
    """The longest row that may pass, in tokens."""
    known = facts.models.get(spec.model.source)
    positions = positions_of(known)
    wanted = spec.data.max_length
    if wanted is not None:
        if positions and wanted > positions:
            raise UsageError(f"data.max_length: {wanted} tokens, but the model has {positions} positions", f"write max_length: {positions} or less")
        return wanted, Decision(field="data.max_length", value=str(wanted), why="set in the spec")
    if positions:
        return positions, Decision(field="data.max_length", value=str(positions), why="the model's positions; no row is cut", source="config.json")
    return FALLBACK_LENGTH, Decision(
        field="data.max_length",
        value=str(FALLBACK_LENGTH),
        why="assumed: the model's config names no positions" if known else "assumed until the model's config is fetched",
    )
