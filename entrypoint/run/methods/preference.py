"""dpo and its family of losses, over pairs."""

from pathlib import Path
from typing import Any

from trl import DPOConfig, DPOTrainer

from entrypoint.run.load_model import load_for_training
from entrypoint.run.methods.pairs import PairCollator
from entrypoint.run.methods.recipe import Recipe, switch_off_dropout
from schemas.job import TrainJob
from schemas.method import Dpo


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
    return Recipe(DPOTrainer, DPOConfig, PairCollator(pad), settings, reference)


def reference(folder: Path, job: TrainJob) -> dict[str, Any]:
    """The frozen copy that full weights are compared with, as the trained model is loaded: at the first step they are equal to the bit."""
    if job.adapter.kind != "full":
        return {}
    return {"ref_model": load_for_training(folder, job).requires_grad_(False).eval()}
