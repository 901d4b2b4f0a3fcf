"""distil from an endpoint: the forward KL over what the teacher answered, with all other tokens as one."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from entrypoint.run.answer_files import Answers
from entrypoint.run.methods.counted import CountsTokens
from entrypoint.run.methods.recipe import Batch, Recipe
from entrypoint.run.ranks import ranks
from entrypoint.run.token_rows import IGNORED, PREPARE_AGAIN, DealtRows
from schemas.errors import GateRefused


def forward_kl(logits: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """KL(teacher || model) at each place, float32 of shape (places,): over the teacher's k tokens and one more that stands for all others.

    `logits` are the model's, (places, vocabulary); `ids` int64 and `logprobs` float32 the teacher's, (places, k). As TRL's ServerDistillationTrainer
    with its default loss_add_tail: without that one more, nothing would hold the model to the teacher's sureness.
    """
    mine = logits.float().log_softmax(-1)
    probabilities = logprobs.exp()
    found = (probabilities * (logprobs - mine.gather(-1, ids))).sum(-1)
    if ids.shape[-1] == mine.shape[-1]:
        return found
    rest = (1 - probabilities.double().sum(-1)).clamp(min=0).float()
    others = mine.scatter(-1, ids, -torch.inf).logsumexp(-1)
    return found + torch.xlogy(rest, rest) - rest * others


class LearnsAnswers(SFTTrainer):
    """TRL's, with the loss above in place of its own."""

    def compute_loss(self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """A mean over learned tokens: of the whole step over all ranks where transformers has counted them, else of this batch."""
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
        learned = inputs["labels"][:, 1:] != IGNORED
        total = forward_kl(outputs.logits[:, :-1][learned], inputs["teacher_ids"], inputs["teacher_logprobs"]).sum()
        if return_outputs:  # of a validation, which weighs batches by itself
            return total / learned.sum().clamp(min=1), outputs
        if num_items_in_batch is None:
            return total / learned.sum().clamp(min=1)
        # Gradients are averaged over ranks, the count is of all.
        return total / torch.as_tensor(num_items_in_batch, device=total.device).clamp(min=1) * ranks()


class AnsweredTrainer(CountsTokens, LearnsAnswers):
    """With tokens counted."""


class DealtAnswers:
    """Rows as DealtRows deals them, each with what the teacher said of it."""

    def __init__(self, dealt: DealtRows, folder: Path, split: str):
        self.dealt, self.answers = dealt, Answers(folder, split)
        if len(self.answers) != len(dealt):
            raise GateRefused(f"{folder}, {split}: answers to {len(self.answers)} rows, {len(dealt)} are prepared", PREPARE_AGAIN)

    def __len__(self) -> int:
        return len(self.dealt)

    def __getitem__(self, number: int) -> dict[str, Any]:
        found = self.answers[number] if number >= 0 else self.answers.nothing()
        return {**self.dealt[number], "teacher_ids": found.ids, "teacher_logprobs": found.logprobs}


class Collator:
    """Rows filled up to one length; the answers of all of them one after the other, in the order of the labels that they belong to."""

    def __init__(self, pad: int):
        self.text = DataCollatorForLanguageModeling(pad_token_id=pad)

    def __call__(self, rows: list[Batch]) -> Batch:
        batch: Batch = self.text([{name: row[name] for name in ("input_ids", "labels")} for row in rows])
        batch["teacher_ids"] = torch.from_numpy(np.concatenate([row["teacher_ids"] for row in rows])).long()
        batch["teacher_logprobs"] = torch.from_numpy(np.concatenate([row["teacher_logprobs"] for row in rows]))
        return batch


def answered(pad: int) -> Recipe:
    """TRL's SFTTrainer with the loss over answers."""
    settings = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    return Recipe(AnsweredTrainer, SFTConfig, Collator(pad), settings)
