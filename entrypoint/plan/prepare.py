"""Plan of the stage prepare: rows to token shards, through the data gate."""

from entrypoint.plan.fetch import row_sources
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.model_shape import max_positions
from entrypoint.plan.step import make_step
from schemas.data import Rows
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.job import PrepareJob, RowsJob
from schemas.plan import Decision, Plan
from schemas.spec import Spec

FALLBACK_LENGTH = 2048
"""Tokens; used while the model's config is not at hand."""


def plan_prepare(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """One step over the fetched model (for its tokenizer and template) and rows."""
    length, decision = row_limit(spec, facts)
    folders = {source: f"{at:02d}" for at, source in enumerate(row_sources(spec))}

    def jobs(rows: tuple[Rows, ...]) -> tuple[RowsJob, ...]:
        return tuple(RowsJob(path=folders[r.source], source=r.source, format=r.format) for r in rows)

    validation = spec.data.validation
    job = PrepareJob(
        rows=spec.method.rows,
        train=jobs(spec.data.train),
        validation=jobs(validation) if isinstance(validation, tuple) else (),
        validation_share=0.0 if isinstance(validation, tuple) else validation,
        loss_on=spec.method.loss_on,
        max_length=length,
        too_long=spec.data.too_long,
        max_rejected=spec.data.max_rejected,
        seed=spec.train.seed,
    )
    wanted = {
        "data": spec.data.model_dump(mode="json", exclude={"packing", "pack_length"}),
        "rows": spec.method.rows,
        "loss_on": spec.method.loss_on,
        "seed": spec.train.seed,
    }
    step = make_step(job, "rows to token shards", f"{spec.name}/prepared", facts, inputs, ("model", "data"), wanted)
    return Plan(name=spec.name, steps=(step,), decisions=(decision,))


def row_limit(spec: Spec, facts: Facts) -> tuple[int, Decision]:
    """The longest row that may pass, in tokens."""
    known = facts.models.get(spec.model.source)
    positions = max_positions(known.config) if known else None
    wanted = spec.data.max_length
    if wanted is not None:
        if positions and wanted > positions:
            raise UsageError(f"data.max_length: {wanted} tokens, but the model has {positions} positions", f"write max_length: {positions} or less")
        return wanted, Decision(field="data.max_length", value=str(wanted), why="set in the spec")
    if positions:
        return positions, Decision(field="data.max_length", value=str(positions), why="the model's positions; no row is cut", source="config.json")
    return FALLBACK_LENGTH, Decision(field="data.max_length", value=str(FALLBACK_LENGTH), why="assumed until the model's config is fetched")
