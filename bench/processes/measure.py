"""Memory of one training process before there is a model worth the name: Python, torch, the trainer's libraries, and a first step.

measure.py KIND        in the image; KIND is plain, zero or qlora. Prints JSON: GiB after each stage, of /proc/self/smaps_rollup.
"""

import json
import sys
from pathlib import Path

SHOWN = ("Rss", "Pss", "Anonymous")


def gib() -> dict[str, float]:
    """Of this process, now."""
    fields = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return {name.rstrip(":"): round(int(kib) / 2**20, 3) for name, kib, *_ in fields if name.rstrip(":") in SHOWN}


def main(kind: str) -> None:
    """Import as a training of this kind does, take three steps of a model of 0.1 million weights, and print."""
    found = {"python": gib()}
    import torch

    found["torch"] = gib()
    from transformers import LlamaConfig, LlamaForCausalLM

    import entrypoint.run.sealed_trainer  # noqa: F401  (with trl, peft and accelerate)

    found["trainer"] = gib()
    if kind == "zero":
        import deepspeed  # noqa: F401
    if kind == "qlora":
        import bitsandbytes  # noqa: F401
    found["engine"] = gib()
    config = LlamaConfig(vocab_size=400, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(3):
        rows = torch.randint(0, 400, (4, 64))
        model(input_ids=rows, labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    found["a step"] = gib()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
