"""The methods: each names TRL's trainer, its settings and a collator from prepared rows; what Caisson promises of a run is `sealed_trainer`'s."""

from entrypoint.run.methods.recipe import Recipe
from schemas.answers_job import Answered
from schemas.job import TrainJob
from schemas.method import Cpo, Distil, Dpo, Kto, Orpo, Reward, Simpo


def recipe_of(job: TrainJob, pad: int) -> Recipe:
    """How a job's method is trained; `pad` is the id that fills up shorter rows."""
    method = job.method
    if isinstance(method, Dpo | Orpo | Simpo | Cpo):
        from entrypoint.run.methods import preference

        if isinstance(method, Dpo):
            return preference.dpo(method, job, pad)
        return preference.orpo(method, job, pad) if isinstance(method, Orpo) else preference.cpo(method, job, pad)
    if isinstance(method, Kto):
        from entrypoint.run.methods.kto import kto

        return kto(method, job, pad)
    if isinstance(method, Reward):
        from entrypoint.run.methods.reward import reward

        return reward(method, job, pad)
    if isinstance(method, Distil):
        from entrypoint.run.methods.distil import distil

        return distil(method, job, pad)
    if isinstance(method, Answered):
        from entrypoint.run.methods.answered import answered

        return answered(pad)
    from entrypoint.run.methods.text import text

    return text(pad)


__all__ = ["Recipe", "recipe_of"]
