"""A loss: tokens that the model knows already weigh less (focal loss, arXiv 1708.02002)."""

import torch


def focal(outputs, labels, num_items_in_batch, gamma: float = 2.0):
    """Logits (rows, tokens, vocabulary) and labels (rows, tokens), not shifted yet; -100 carries no loss.

    num_items_in_batch counts the tokens of the whole step, over all micro-batches and processes: divide the sum by it. It is None in a validation.
    """
    logits, labels = outputs.logits[:, :-1].float(), labels[:, 1:]
    learned = labels != -100
    nll = torch.nn.functional.cross_entropy(logits[learned], labels[learned], reduction="none")
    count = num_items_in_batch if num_items_in_batch is not None else learned.sum().clamp(min=1)
    return ((1 - torch.exp(-nll)) ** gamma * nll).sum() / count
