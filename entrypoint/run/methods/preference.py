"""dpo and its family of losses, and what does without a reference model: orpo, simpo and cpo; all over pairs."""

from pathlib import Path
from typing import Any

from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from entrypoint.run.load_model import load_for_training
from entrypoint.run.methods.counted import CountsTokens
from entrypoint.run.methods.pairs import PairCollator, SidesCollator
from entrypoint.run.methods.recipe import Recipe, switch_off_dropout
from schemas.job import Task, TrainJob
from schemas.method import Cpo, Dpo, Orpo, Simpo

NO_LIMIT = 2**30
"""Tokens; these trainers cut what they tokenize, which they do not, and take no None."""


class OrpoTrainer(CountsTokens, ORPOTrainer):
    """TRL's, with its tokens counted."""


class CpoTrainer(CountsTokens, CPOTrainer):
    """TRL's, with its tokens counted."""


def dpo(method: Dpo, job: TrainJob, pad: int) -> Recipe:
    """TRL's DPOTrainer. Rows come tokenized, so nothing is cut; the reference under an adapter is the base with the adapter switched off."""
    settings: dict[str, Any] = {
        "max_length": None,
        "disable_dropout": switch_off_dropout(job),
        "beta": method.beta,
        "loss_type": list(method.loss),
        "loss_weights": list(method.weights) if method.weights else None,
        "label_smoothing": method.label_smoothing,
        "f_divergence_type": method.divergence,
        "f_alpha_divergence_coef": method.divergence_alpha or 0.5,
    }
    return Recipe(DPOTrainer, DPOConfig, PairCollator(pad), settings, companions=reference)


def reference(task: Task) -> dict[str, Any]:
    """The frozen copy that the model's own weights are compared with, loaded as they are: at the first step both are equal to the bit."""
    assert isinstance(task.job, TrainJob)
    if task.job.adapter.rank is not None:  # the base under an adapter is the reference
        return {}
    return {"ref_model": load_for_training(Path(task.inputs["model"]), task.job).requires_grad_(False).eval()}


def orpo(method: Orpo, job: TrainJob, pad: int) -> Recipe:
    """TRL's ORPOTrainer: the likelihood of the chosen rows, prompt and answer, and beside it the odds of the answers."""
    settings = {"max_length": NO_LIMIT, "padding_value": pad, "disable_dropout": switch_off_dropout(job), "beta": method.beta}
    return Recipe(OrpoTrainer, ORPOConfig, SidesCollator(pad), settings)


def cpo(method: Cpo | Simpo, job: TrainJob, pad: int) -> Recipe:
    """TRL's CPOTrainer, whose loss SimPO's is one of."""
    settings: dict[str, Any] = {"max_length": NO_LIMIT, "disable_dropout": switch_off_dropout(job), "beta": method.beta, "cpo_alpha": method.chosen_weight}
    if isinstance(method, Simpo):
        settings |= {"loss_type": "simpo", "simpo_gamma": method.gamma}
    else:
        settings |= {"loss_type": method.loss, "label_smoothing": method.label_smoothing}
    return Recipe(CpoTrainer, CPOConfig, SidesCollator(pad), settings)
