"""One measurement of bench/merge, in the image `export`. Prints JSON.

inside.py make FOLDER SIZE                    a random bf16 model in FOLDER/base and a LoRA of rank 16 for it in FOLDER/adapter, written tensor by tensor
inside.py tensors|peft-bf16|peft-fp32 FOLDER OUTPUT    merge it: by Caisson, or by peft with the model loaded in that precision
inside.py same ONE TWO                        how two merged folders differ
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from entrypoint.run.merge import build, merge
from entrypoint.run.peak import Peak
from entrypoint.run.tensor_files import TensorWriter, places, read_tensor

SHAPES: dict[str, dict[str, Any]] = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256},
    "3b": {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8, "vocab_size": 128256},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256},
}
"""Of Llama 3; the two smaller ones tie their embeddings."""

RANK = 16


def make(folder: Path, size: str) -> dict[str, Any]:
    """Numbers as an initialisation would give them."""
    from peft import LoraConfig
    from safetensors.torch import save_file
    from transformers import LlamaConfig

    base, adapter = folder / "base", folder / "adapter"
    base.mkdir(parents=True)
    adapter.mkdir()
    LlamaConfig(**SHAPES[size], tie_word_embeddings=size != "8b", architectures=["LlamaForCausalLM"], dtype="bfloat16").save_pretrained(base)
    skeleton = build(base, False, None)
    chance = torch.Generator().manual_seed(1)
    writer = TensorWriter(base, 4 * 1024**3)
    weights: dict[str, Any] = {}
    for name, tensor in skeleton.model.state_dict().items():
        if name in skeleton.tied:
            continue
        writer.add(name, (torch.randn(tensor.shape, generator=chance) * 0.02).to(torch.bfloat16))
        if name in skeleton.linear:
            outputs, inputs = tensor.shape
            path = f"base_model.model.{name.removesuffix('.weight')}"
            weights[f"{path}.lora_A.weight"] = torch.randn(RANK, inputs, generator=chance) * 0.02
            weights[f"{path}.lora_B.weight"] = torch.randn(outputs, RANK, generator=chance) * 0.02
    written = writer.close()
    save_file(weights, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    LoraConfig(r=RANK, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM", base_model_name_or_path=str(base)).save_pretrained(adapter)
    return {"bytes": written}


def by_tensor(folder: Path, output: Path) -> int:
    """As export does."""
    return merge(folder / "base", build(folder / "base", False, folder / "adapter"), output)


def by_peft(folder: Path, output: Path, precision: str) -> int:
    """As most recipes do: load, merge, save."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype={"bf16": torch.bfloat16, "fp32": torch.float32}[precision])
    whole = PeftModel.from_pretrained(model, str(folder / "adapter")).merge_and_unload(safe_merge=True).to(torch.bfloat16)
    whole.save_pretrained(output)
    return sum(path.stat().st_size for path in output.glob("*.safetensors"))


def same(one: Path, two: Path) -> dict[str, Any]:
    """Tensors that are the same bit for bit, and the largest difference, in steps of bf16 of the larger."""
    first, second = places(one), places(two)
    equal, worst, numbers, unlike = 0, 0.0, 0, 0
    for name, file in first.items():
        a, b = read_tensor(one / file, name), read_tensor(two / second[name], name)
        equal += bool(torch.equal(a, b))
        apart = (a.float() - b.float()).abs()
        unlike += int((apart > 0).sum())
        numbers += a.numel()
        worst = max(worst, float(apart.max()))
    return {"tensors": len(first), "equal": equal, "numbers_that_differ": unlike / numbers, "largest_difference": worst, "names": set(first) == set(second)}


def main(what: str, *arguments: str) -> None:
    """Do one thing and print it."""
    paths = [Path(argument) for argument in arguments]
    if what in ("make", "same"):
        print(json.dumps(make(paths[0], arguments[1]) if what == "make" else same(*paths)))
        return
    paths[1].mkdir(parents=True)
    import peft  # noqa: F401  (the libraries are not what is measured)
    import transformers  # noqa: F401

    peak = Peak()
    start = time.monotonic()
    size = by_tensor(*paths) if what == "tensors" else by_peft(*paths, precision=what.removeprefix("peft-"))
    print(
        json.dumps(
            {
                "seconds": round(time.monotonic() - start, 1),
                "peak_gib": round(peak.since() / 2**30, 2),
                "libraries_gib": round(peak.before / 2**30, 2),
                "bytes": size,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
