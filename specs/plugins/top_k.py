"""A metric: whether the right token is among the k that the model finds likeliest."""


def top_k(outputs, labels, k: int = 5):
    """Values by name; the mean of all of them, over all batches and processes, is logged as eval_NAME."""
    logits, labels = outputs.logits[:, :-1], labels[:, 1:]
    learned = labels != -100
    likeliest = logits[learned].topk(k, dim=-1).indices
    return {f"top_{k}": (likeliest == labels[learned][:, None]).any(dim=-1)}
