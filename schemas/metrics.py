"""What is measured: the names that a gate may use, and how each number is to be read."""

from dataclasses import dataclass

from schemas.evaluation import OWN
from schemas.method import RowKind


@dataclass(frozen=True)
class Metric:
    """One kind of number."""

    called: str
    """What it is, in a few words."""

    share: bool = True
    """Whether it goes from 0 to 1."""

    higher_is_better: bool | None = True


METRICS: dict[str, Metric] = {
    "accuracy": Metric("right answers"),
    "exact_match": Metric("answers word for word as expected"),
    "token_f1": Metric("words shared with the expected answer"),
    "preference_accuracy": Metric("pairs whose chosen answer is likelier, token for token"),
    "next_token": Metric("tokens that were the first choice"),
    "loss": Metric("held-out loss, nats a token", share=False, higher_is_better=False),
    "perplexity": Metric("held-out perplexity", share=False, higher_is_better=False),
    "refusal": Metric("answers that refuse", higher_is_better=False),
    "repetition": Metric("answers that run in a loop", higher_is_better=False),
    "unreadable": Metric("answers that name no choice", higher_is_better=False),
    "unfinished": Metric("answers that never stop", higher_is_better=False),
}
"""By the part of a gate's name behind the dot. What is not here is a share that is better high, called by its name."""

ANSWERED = ("exact_match", "token_f1", "refusal", "repetition", "unfinished")
WEIGHED = ("loss", "perplexity", "next_token")

OWN_METRICS: dict[RowKind, tuple[str, ...]] = {
    "text": (*ANSWERED, *WEIGHED), "labelled": (*ANSWERED, *WEIGHED), "pair": ("preference_accuracy", *ANSWERED, *WEIGHED),
}  # fmt: skip
"""Of the suite `own`, the first is its score."""

RAW_METRICS = ("next_token", "loss", "perplexity")
"""The same of raw text, which has no questions."""


def metric_called(name: str) -> Metric:
    """How a metric is read, by the part of its name behind the dot."""
    return METRICS.get(name, Metric(name.replace("_", " ")))


def own_metrics(kind: RowKind, *, raw: bool) -> tuple[str, ...]:
    """Every name of the suite `own` that a gate may use."""
    names = RAW_METRICS if raw else OWN_METRICS[kind]
    return (OWN, *(f"{OWN}.{name}" for name in names))
