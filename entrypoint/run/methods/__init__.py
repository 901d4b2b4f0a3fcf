"""The methods: each names TRL's trainer, its settings and a collator from prepared rows; what Caisson promises of a run is `sealed_trainer`'s."""

from entrypoint.run.methods.recipe import Recipe
from schemas.job import TrainJob
from schemas.method import Dpo


def recipe_of(job: TrainJob, pad: int) -> Recipe:
    """How a job's method is trained; `pad` is the id that fills up shorter rows."""
    if isinstance(job.method, Dpo):
        from entrypoint.run.methods.preference import dpo

        return dpo(job.method, job, pad)
    from entrypoint.run.methods.text import text

    return text(pad)


__all__ = ["Recipe", "recipe_of"]
