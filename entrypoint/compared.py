"""Several trainings of one name beside each other: what was decided otherwise, how their losses went, what their evaluations found."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from entrypoint.evaluations import Evaluation, evaluations
from entrypoint.plan.identity import APART
from entrypoint.run.lineage import curves
from entrypoint.run.store import Store
from schemas.errors import UsageError
from schemas.evaluation import Score
from schemas.manifest import Manifest, Sealed

SHORT = 12
"""Characters of a digest that tell two inputs apart."""


@dataclass(frozen=True)
class Run:
    """One training."""

    id: str
    made: Manifest
    losses: tuple[tuple[int, float], ...]
    validation_losses: tuple[tuple[int, float], ...]
    prepared: Manifest | None
    """The rows that it learned, where the store still has them."""

    evaluation: Evaluation | None
    """The newest of an export that was made of it."""

    @property
    def settings(self) -> dict[str, str]:
        """Everything that was decided for it, by the job's own keys with dots, and what it was made of."""
        found = dict(_flat(self.made.job, ()))
        found |= {f"input {role}": content[:SHORT] for role, content in self.made.inputs.items()}
        if self.prepared:
            found |= {f"rows {key}": value for key, value in _flat(self.prepared.job, ())}
        return found | {"program": self.made.program, "image": self.made.image_lock[:SHORT]}

    @property
    def scores(self) -> dict[str, Score]:
        """By metric."""
        return {score.metric: score for score in self.evaluation.report.scores} if self.evaluation else {}


def runs(name: str, store: Store, wanted: tuple[str, ...]) -> list[Run]:
    """The trainings whose IDs begin so, in that order; all of them, oldest first, where none is named. Raises UsageError for what there is not."""
    every = sorted(store.sealed(f"{name}/train"), key=lambda one: one.manifest.finished_at)
    if not every:
        raise UsageError(f"{name} has no finished training", "run `docker compose run --rm train`, or `caisson train SPEC`")
    chosen = [_find(name, start, every) for start in wanted] or every
    rows = {one.manifest.content: one.manifest for one in store.sealed(f"{name}/prepared")}
    known = evaluations(name, store)
    return [_run(one, rows, known, store) for one in {one.folder: one for one in chosen}.values()]


def differences(found: list[Run]) -> dict[str, tuple[str, ...]]:
    """Settings that are not the same in all runs, each with its value in every run; `-` where a run has none."""
    settings = [run.settings for run in found]
    keys = dict.fromkeys(key for one in settings for key in one)
    every = {key: tuple(one.get(key, "-") for one in settings) for key in keys}
    return {key: values for key, values in every.items() if len(set(values)) > 1}


def metrics(found: list[Run]) -> list[str]:
    """Every metric that one of them was measured by, in the order of the reports."""
    return list(dict.fromkeys(metric for run in found for metric in run.scores))


def _find(name: str, start: str, every: list[Sealed]) -> Sealed:
    ids = [one.folder.rpartition("/")[2] for one in every]
    found = [at for at, id in enumerate(ids) if start and id.startswith(start)]
    if len(found) == 1:
        return every[found[0]]
    what = f"{start} is the beginning of {len(found)} trainings of {name}" if found else f"{name} has no training {start}"
    raise UsageError(what, f"there {'is' if len(ids) == 1 else 'are'} {', '.join(ids)}")


def _run(one: Sealed, rows: Mapping[str, Manifest], known: list[Evaluation], store: Store) -> Run:
    training, validation = curves(store.root / one.folder)
    evaluated = next((e for e in known if any(link.content == one.manifest.content for link in e.report.chain)), None)
    prepared = rows.get(one.manifest.inputs.get("prepared", ""))
    return Run(one.folder.rpartition("/")[2], one.manifest, training, validation, prepared, evaluated)


def _flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if path or key not in APART | {"stage"}:
                yield from _flat(inner, (*path, str(key)))
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value):
        for at, inner in enumerate(value):
            yield from _flat(inner, (*path, str(at)))
    else:
        yield ".".join(path), "-" if value is None or value == [] else str(value)
