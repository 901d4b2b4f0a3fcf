"""distil: a teacher's distribution of each token, over the rows as they are."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer
from trl.experimental.gkd import GKDConfig, GKDTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from entrypoint.run.load_model import load_base
from entrypoint.run.methods.counted import CountsTokens
from entrypoint.run.methods.recipe import Recipe, switch_off_dropout
from entrypoint.run.ranks import ranks
from schemas.errors import GateRefused
from schemas.job import Task, TrainJob
from schemas.method import Distil

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
FAMILY = "choose a teacher of the same family, whose tokenizer is the model's"


class DistilTrainer(CountsTokens, GKDTrainer):
    """TRL's, on the rows alone."""

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Without the draw of lots that decides whether the model writes the answer itself: it would move Python's generator."""
        loss: torch.Tensor = super(GKDTrainer, self).training_step(*args, **kwargs)
        return loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """As TRL's, whose sum is over the tokens of all ranks, while gradients are averaged over ranks: transformers' own loss makes up for it."""
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return loss if num_items_in_batch is None or return_outputs else loss * ranks()


def distil(method: Distil, job: TrainJob, pad: int) -> Recipe:
    """TRL's GKDTrainer with its generalised Jensen-Shannon divergence, off-policy."""
    settings: dict[str, Any] = {
        "max_length": None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "disable_dropout": switch_off_dropout(job),
        "lmbda": 0.0,
        "beta": method.beta,
    }
    return Recipe(DistilTrainer, GKDConfig, DataCollatorForLanguageModeling(pad_token_id=pad), settings, companions=teacher)


def teacher(task: Task) -> dict[str, Any]:
    """The second model in the precision that computes; raises GateRefused where it does not know the same tokens."""
    assert isinstance(task.job, TrainJob)
    folder, student = Path(task.inputs["teacher"]), Path(task.inputs["model"])
    its, mine = (AutoTokenizer.from_pretrained(place, local_files_only=True).get_vocab() for place in (folder, student))
    if its != mine:
        other = sorted(set(its.items()) ^ set(mine.items()), key=lambda entry: entry[1])[0][0]
        raise GateRefused(f"method.teacher: its tokenizer is not the model's; the first token that differs is {other!r}", FAMILY)
    model = load_base(folder, dtype=TYPES[task.job.precision])
    wanted = _head(student)
    if _head(folder) < wanted:
        raise GateRefused(f"method.teacher: its output head has {_head(folder)} entries, the model's has {wanted}", FAMILY)
    if _head(folder) > wanted:  # some sizes of a family fill their tables up to another multiple: with entries that are no token
        model.resize_token_embeddings(wanted)
    return {"teacher_model": model.requires_grad_(False).eval()}


def _head(folder: Path) -> int:
    """Entries of a model's output head."""
    from transformers import AutoConfig

    return int(AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config().vocab_size)
