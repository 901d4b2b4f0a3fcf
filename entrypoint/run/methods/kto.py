"""kto: single answers, each with a label."""

from typing import Any

import torch
from trl import KTOConfig, KTOTrainer
from trl.trainer.utils import pad

from entrypoint.run.methods.pairs import counted
from entrypoint.run.methods.preference import reference
from entrypoint.run.methods.recipe import Recipe, switch_off_dropout
from entrypoint.run.token_rows import IGNORED
from schemas.job import TrainJob
from schemas.method import Kto


def kto(method: Kto, job: TrainJob, pad_id: int) -> Recipe:
    """TRL's KTOTrainer. The mismatched answers of its estimate are dealt out by the collator, row by row in the order of the micro-batch."""
    settings: dict[str, Any] = {
        "max_length": None,
        "disable_dropout": switch_off_dropout(job),
        "loss_type": method.loss,
        "beta": method.beta,
        "desirable_weight": method.desirable_weight,
        "undesirable_weight": method.undesirable_weight,
    }
    return Recipe(KTOTrainer, KTOConfig, LabelCollator(pad_id, estimates=method.loss == "kto"), settings, companions=reference)


class LabelCollator:
    """What KTOTrainer reads: ids and masks of shape (rows, longest), `label` bool (rows,), and the same of mismatched answers as KL_*."""

    def __init__(self, pad_id: int, estimates: bool):
        self.pad_id, self.estimates = pad_id, estimates

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch. A row's mismatched answer is that of the row before it, the first row's that of the last: it depends on positions alone."""
        parts = [_parts(row) for row in rows]
        batch = self._sequences("", [(torch.cat([prompt, answer]), torch.cat([torch.zeros_like(prompt), mask])) for prompt, answer, mask in parts])
        if self.estimates:
            before = [parts[-1], *parts[:-1]]
            pairs = [
                (torch.cat([prompt, answer]), torch.cat([torch.zeros_like(prompt), mask]))
                for (prompt, *_), (_, answer, mask) in zip(parts, before, strict=True)
            ]
            batch |= self._sequences("KL_", pairs)
        return {**batch, "label": torch.tensor([bool(row["label"]) for row in rows]), "counts": counted(rows)}

    def _sequences(self, prefix: str, found: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
        ids, masks = [ids for ids, _ in found], [mask for _, mask in found]
        return {
            f"{prefix}input_ids": pad(ids, padding_value=self.pad_id, padding_side="right"),
            f"{prefix}attention_mask": pad([torch.ones_like(row) for row in ids], padding_value=0, padding_side="right"),
            f"{prefix}completion_mask": pad(masks, padding_value=0, padding_side="right"),
        }


def _parts(row: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prompt, answer, and which tokens of the answer carry loss: it begins at the first that does."""
    ids, mask = torch.as_tensor(row["input_ids"]), (torch.as_tensor(row["labels"]) != IGNORED).long()
    start = int(mask.argmax())
    return ids[:start], ids[start:], mask[start:]
