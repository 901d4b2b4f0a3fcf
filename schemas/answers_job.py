"""What the leaf that asks a teacher behind an endpoint is told, and a training over what it answered."""

from typing import ClassVar, Literal

from schemas.base import Record, Section
from schemas.method import LossOn, RowKind

KEY_FILE = "/run/secrets/teacher_key"
"""Where Compose mounts it: compose/teacher.yaml."""


class Reach(Record):
    """How the server is reached; in no identity, as it decides no answer."""

    url: str
    """Such as http://host:8000/v1, without a slash at its end."""

    key_file: str
    """Holds the API key; empty or absent where the server wants none."""

    requests: int
    """At once."""


class AnswersJob(Record):
    """Prepared rows to the teacher's likeliest tokens at each place that carries loss."""

    stage: Literal["answers"] = "answers"
    """The second step of prepare."""

    teacher: str
    """What the server calls the model."""

    top_k: int
    reach: Reach


class Answered(Section):
    """What a training is told of a distillation whose teacher has been asked already. Not for specs."""

    rows: ClassVar[RowKind] = "text"

    kind: Literal["answered"]
    """answered: the forward KL over what the teacher answered."""

    loss_on: LossOn
    """As Distil's."""
