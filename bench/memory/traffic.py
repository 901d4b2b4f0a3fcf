"""Bytes a token that the operations of one layer read and write beside products and attention, by widths: the rows `layer` of the plan's tables/time.json.

`python traffic.py` in the training image, on fake tensors. A step of one layer and of two, with one width changed at a time; what two have more than one is a layer's, and a linear system
gives the bytes by width. Operations that only look at memory otherwise (views) count nothing. What a token does not change (casts of weights) falls into the constant, which is not used.
"""

import collections
import json
from typing import Any

import numpy
import step
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves
from tracked import LiveBytes

PRODUCTS = ("aten.mm", "aten.addmm", "aten.bmm", "aten._scaled")
WIDTHS = [(1024, 3072, 128, 4), (2048, 3072, 128, 4), (1024, 6144, 128, 4), (1024, 3072, 256, 4), (1024, 3072, 128, 2)]
"""Hidden, MLP, head size, heads of keys; 8 heads of queries."""

TOKENS = 2000
ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("adapter, cast", {"adapter": "lora"}, "llama"),
    ("adapter", {"adapter": "lora", "adapters": "bf16"}, "llama"),
    ("own, cast", {"adapter": "full"}, "llama"),
    ("own", {"adapter": "full", "autocast": False}, "llama"),
    ("adapter, cast, head norms", {"adapter": "lora"}, "qwen3"),
]


class Traffic(LiveBytes):
    """Also counts what each phase of a step reads and writes, and its operations; a phase ends with `mark`."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.phases: dict[int, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.phase = 0

    def mark(self) -> int:
        """The next phase begins."""
        self.phase += 1
        return super().mark()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        read, written = ([leaf for leaf in tree_leaves(of) if isinstance(leaf, torch.Tensor)] for of in ((args, kwargs or {}), out))
        name, held = str(func).split(".")[1], {tensor.untyped_storage()._cdata for tensor in read}
        looks = written and all(tensor.untyped_storage()._cdata in held for tensor in written) and not name.endswith("_")
        if looks or name.startswith("empty"):
            return out
        self.phases[self.phase]["operations"] += 1
        if not str(func).startswith(PRODUCTS):
            self.phases[self.phase]["bytes"] += sum(tensor.numel() * tensor.element_size() for tensor in [*read, *written])
        return out


def layer(row: dict[str, Any], kind: str, widths: tuple[int, int, int, int]) -> dict[str, collections.Counter[str]]:
    """Of one layer, by way."""
    hidden, mlp, head, keys = widths
    shape = {
        "model_type": kind, "hidden_size": hidden, "intermediate_size": mlp, "num_attention_heads": 8, "num_key_value_heads": keys, "head_dim": head,
        "vocab_size": 2000, "tie_word_embeddings": False, "max_position_embeddings": 4096,
    }  # fmt: skip
    counted = []
    for layers in (1, 2):
        with FakeTensorMode(allow_non_fake_inputs=True):
            count = Traffic()
            given = {"shape": shape | {"num_hidden_layers": layers}, "batch": 1, "length": TOKENS, "checkpointing": False, "loss": "chunked", "rank": 16}
            step.take_step(given | row, "cpu", count)
        counted.append(count.phases)
    return {
        way: collections.Counter({key: counted[1][at][key] - counted[0][at][key] for key in ("bytes", "operations")})
        for at, way in ((1, "forward"), (2, "backward"))
    }


def main() -> None:
    """A line a row of the table."""
    step.pretend()
    for name, row, kind in ROWS:
        measured = [layer(row, kind, widths) for widths in WIDTHS]
        sides = numpy.array([[hidden, mlp, 8 * head, keys * head, 1] for hidden, mlp, head, keys in WIDTHS], float)
        found = {way: numpy.linalg.solve(sides, [one[way]["bytes"] / TOKENS for one in measured]).round().tolist() for way in ("forward", "backward")}
        print(json.dumps({name: found | {"operations": [measured[0][way]["operations"] for way in ("forward", "backward")]}}), flush=True)


if __name__ == "__main__":
    main()
