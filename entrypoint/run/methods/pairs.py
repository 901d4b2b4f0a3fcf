"""Prepared pairs -> batches: the chosen sides of all rows, then the rejected ones."""

from typing import Any

import torch
from trl.trainer.utils import pad

from entrypoint.run.token_rows import IGNORED


def sides(rows: list[dict[str, Any]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Ids and labels of 2 x len(rows) sequences, each int64 of shape (tokens,); labels are -100 on the prompt."""

    def both(name: str) -> list[torch.Tensor]:
        whole = [(torch.as_tensor(row[name]), int(row["chosen"])) for row in rows]
        return [row[:cut] for row, cut in whole] + [row[cut:] for row, cut in whole]

    return both("input_ids"), both("labels")


def counted(rows: list[dict[str, Any]]) -> torch.Tensor:
    """Which rows count, bool of shape (rows,): one that stands in for a row that is not there does not."""
    return torch.tensor([bool(row.get("counts", True)) for row in rows])


class PairCollator:
    """What DPOTrainer reads: input_ids, attention_mask and completion_mask, int64 of shape (2 x rows, longest); and `counts`."""

    def __init__(self, pad_id: int):
        self.pad_id = pad_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch; padded on the right."""
        ids, labels = sides(rows)
        return {
            "input_ids": pad(ids, padding_value=self.pad_id, padding_side="right"),
            "attention_mask": pad([torch.ones_like(row) for row in ids], padding_value=0, padding_side="right"),
            "completion_mask": pad([(row != IGNORED).long() for row in labels], padding_value=0, padding_side="right"),
            "counts": counted(rows),
        }


class SidesCollator:
    """What ORPOTrainer and CPOTrainer read: chosen_* and rejected_* input_ids, attention_mask and labels, (rows, longest) of each side."""

    def __init__(self, pad_id: int):
        self.pad_id = pad_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch; padded on the right."""
        ids, labels = sides(rows)
        batch = {"counts": counted(rows)}
        for side, part in (("chosen", slice(None, len(rows))), ("rejected", slice(len(rows), None))):
            batch[f"{side}_input_ids"] = pad(ids[part], padding_value=self.pad_id, padding_side="right")
            batch[f"{side}_attention_mask"] = pad([torch.ones_like(row) for row in ids[part]], padding_value=0, padding_side="right")
            batch[f"{side}_labels"] = pad(labels[part], padding_value=IGNORED, padding_side="right")
        return batch


class WholeCollator:
    """What RewardTrainer reads: input_ids and attention_mask, int64 of shape (2 x rows, longest), the chosen sides first."""

    def __init__(self, pad_id: int):
        self.pad_id = pad_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch; padded on the right."""
        batch = PairCollator(self.pad_id)(rows)
        del batch["completion_mask"]
        return batch
