"""Rows that are prepared while they are trained on: what that wants of the rest of the spec."""

from entrypoint.plan.answers import asked_of
from schemas.errors import UsageError
from schemas.job import PART_TOKENS
from schemas.plan import Decision
from schemas.spec import Spec


def check_streaming(spec: Spec) -> list[Decision]:
    """A line of the plan where rows are streamed. Raises UsageError where a value would have to be known of rows that nobody has read."""
    if not spec.data.streaming:
        return []
    for refused, what, fix in (
        (spec.train.max_steps is None, "the schedule needs the number of steps, and nobody has counted the rows", "write train.max_steps"),
        (spec.data.max_length is None, "memory is planned before the longest row is known", "write data.max_length"),
        (
            not isinstance(spec.data.validation, tuple) and spec.data.validation > 0,
            "a share of the rows cannot be held back before all are read",
            "write validation: 0%, or a list of sources",
        ),
        (
            spec.method.rows != "text",
            f"{spec.method.kind} learns from rows of another kind than text, which are not streamed",
            "take data.streaming out: all are prepared first",
        ),
        (asked_of(spec) is not None, "method.endpoint: the teacher is asked about rows that are prepared", "take data.streaming out: all are prepared first"),
        (spec.train.group_by_length, "train.group_by_length needs the lengths of all rows", "take one of the two out"),
        (spec.hardware.nodes > 1, "one machine prepares rows for its own training", "take data.streaming out, or train on one machine"),
    ):
        if refused:
            raise UsageError(f"data.streaming: {what}", fix)
    return [
        Decision(
            field="data.streaming",
            value="true",
            why=f"training begins with the first {spec.data.part_tokens or PART_TOKENS:,} tokens; the rest is prepared beside it",
        )
    ]


def stream_roles(spec: Spec) -> tuple[str, ...]:
    """What train reads beside the first part, so that the rest can be prepared."""
    if not spec.data.streaming:
        return ()
    return ("data", "preprocessor") if spec.plugins.preprocessor else ("data",)
