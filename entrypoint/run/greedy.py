"""Greedy answers with their log-probabilities, and whether two of them are the same answer."""

import math
from dataclasses import dataclass
from typing import Any

NEAR_TIE = 0.3
"""Two first choices whose log-probabilities lie this close (in nats) may swap when weights are rounded to bf16. Measured on SmolLM2-135M:
rounding moves a token's log-probability by up to 0.13, and each of the two choices may move its own way."""

LARGEST_DIFFERENCE = 0.5
"""Nats. A token that both answers share and that differs by more was not moved by rounding."""


@dataclass(frozen=True)
class Answer:
    """A greedy continuation."""

    ids: list[int]
    logprobs: list[float]
    """Of the chosen tokens, nats."""

    margins: list[float]
    """By how much each chosen token led the runner-up, nats."""

    ended: bool = False
    """Whether the last token is one on which serving stops; else the answer was cut."""


@dataclass(frozen=True)
class Verdict:
    """How a second answer stands to the first."""

    equal: bool
    tie: bool
    """They part where the first had two choices within NEAR_TIE."""

    largest_difference: float
    """Of the log-probabilities, over the tokens that both share, nats."""


def answer(model: Any, prompt_ids: list[int], tokens: int) -> Answer:
    """The most likely continuation, token by token, up to an end token."""
    import torch

    prompt = torch.tensor([prompt_ids], device=model.device)
    with torch.inference_mode():
        made = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, num_beams=1, max_new_tokens=tokens,
            return_dict_in_generate=True, output_logits=True, temperature=None, top_p=None, top_k=None, repetition_penalty=1.0,
        )  # fmt: skip
    ids = made.sequences[0, len(prompt_ids) :].tolist()
    rows = torch.stack([step[0].float().log_softmax(-1) for step in made.logits])
    top = rows.topk(2, dim=-1).values
    return Answer(ids, [float(rows[i, t]) for i, t in enumerate(ids)], (top[:, 0] - top[:, 1]).tolist(), bool(ids) and ids[-1] in _stops(model))


def _stops(model: Any) -> set[int]:
    """Tokens on which generation ends."""
    said = model.generation_config.eos_token_id
    return set(said if isinstance(said, list) else [said])


def distributions(model: Any, prompt_ids: list[int], answer_ids: list[int]) -> Any:
    """Log-probabilities of every token at each place of a given answer: fp32 of shape (answer tokens, vocabulary), in main memory."""
    import torch

    given = torch.tensor([prompt_ids + answer_ids], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=given, attention_mask=torch.ones_like(given)).logits[0, len(prompt_ids) - 1 : -1]
    return logits.float().log_softmax(-1).cpu()


def compare(first: Answer, second: Answer, near_tie: float = NEAR_TIE) -> Verdict:
    """Token by token up to the first difference. Two first choices that lie closer than `near_tie` nats may swap."""
    shared = 0
    for a, b in zip(first.ids, second.ids, strict=False):
        if a != b:
            break
        shared += 1
    differences = [abs(a - b) for a, b in zip(first.logprobs[:shared], second.logprobs[:shared], strict=True)]
    equal = first.ids == second.ids
    tie = not equal and shared < len(first.margins) and first.margins[shared] < near_tie
    if not all(math.isfinite(p) for p in (*first.logprobs, *second.logprobs)):  # max() would pass over a NaN
        return Verdict(False, False, math.inf)
    return Verdict(equal, tie, max(differences, default=0.0))
