"""Takes the program's training step on a GPU and writes, row by row, what it allocated and how long it took.

`python bench/steps/measure.py OUTPUT --seconds 540 [--sweep] [--kernels torch liger] [--device cpu --tiny]`: rows that OUTPUT has already are left out, so
that several calls add up. A model is built once for all rows of its shape and adapter, each measured in its own step after a first that nobody counts.
Rows that do not fit are written as such; with every number of rows at once the smaller come first, and after one that does not fit no larger is tried.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent / "memory")]

from rows import grid, sweep  # noqa: E402
from step import TARGETS  # noqa: E402

SHAPES = json.loads((HERE.parent / "memory" / "shapes.json").read_text(encoding="utf-8"))
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
}
KEY = ("shape", "adapter", "batch", "length", "checkpointing", "loss", "kernels", "of")
TIMES, ENOUGH = 5, 4.0
"""Timed steps, fewer where they take this many seconds together."""


class Trial:
    """A model with its adapter and optimizer, as entrypoint.run builds them, in which rows are measured."""

    def __init__(self, shape: str, adapter: str, kernels: str, device: str, tiny: bool):
        from peft import LoraConfig, get_peft_model
        from transformers import AutoConfig, AutoModelForCausalLM
        from trl.trainer.sft_trainer import add_fused_lm_head

        self.adapter, self.device = adapter, device
        config = AutoConfig.for_model(**(SHAPES[shape] | (TINY if tiny else {})))
        config.use_cache = False
        with torch.device(device):
            dtype = torch.float32 if adapter == "full" else torch.bfloat16
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
        if kernels == "liger":
            from liger_kernel.transformers.monkey_patch import _apply_liger_kernel_to_instance

            _apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False, cross_entropy=False)
        if adapter == "qlora":
            in_four_bits(model)
        if adapter != "full":
            model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0, target_modules=TARGETS))
        self.inner = model.get_base_model() if adapter != "full" else model
        add_fused_lm_head(self.inner, outputs=("log_probs", "entropy", "is_top1"))
        self.model = model.to(device).train()
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-5, fused=True)

    def recompute(self, again: bool | str) -> None:
        """Activations are kept, or made again: of all layers, or with `selective` of every second one."""
        if again:
            every = 2 if again == "selective" else 1
            self.inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False}, every_n_layers=every)
            if self.adapter != "full":
                self.model.enable_input_require_grads()
        else:
            self.inner.gradient_checkpointing_disable()
            if self.adapter != "full" and getattr(self.inner, "_require_grads_hook", None) is not None:
                self.inner.disable_input_require_grads()

    def step(self, ids: torch.Tensor, loss: str) -> None:
        """Forward, backward, clipping and AdamW, as the program takes them."""
        from accelerate.utils import convert_outputs_to_fp32

        forward = convert_outputs_to_fp32(torch.autocast(self.device, dtype=torch.bfloat16)(self.model.forward))
        if loss == "chunked":
            out = forward(input_ids=ids, labels=ids, use_cache=False, fused_lm_head=True)
            value = (-out.log_probs).sum() / ids.numel()
        else:
            out = forward(input_ids=ids, labels=ids, use_cache=False)
            value = out.loss
        del out
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def measure(self, row: dict[str, Any]) -> dict[str, Any]:
        """Peak bytes of a step, and seconds, the median of several."""
        self.recompute(row["checkpointing"])
        ids = torch.randint(0, 500, (row["batch"], row["length"]), device=self.device)
        self.step(ids, row["loss"])
        self.sync()
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds: list[float] = []
        while len(seconds) < TIMES and (len(seconds) < 2 or sum(seconds) < ENOUGH):
            start = time.perf_counter()
            self.step(ids, row["loss"])
            self.sync()
            seconds.append(time.perf_counter() - start)
        peak = torch.cuda.max_memory_allocated() if self.device == "cuda" else 0
        reserved = torch.cuda.max_memory_reserved() if self.device == "cuda" else 0
        return {"peak": peak, "reserved": reserved, "seconds": statistics.median(seconds), "all": [round(one, 5) for one in seconds]}

    def sync(self) -> None:
        """Until the GPU has done what it was told."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def in_four_bits(model: Any) -> None:
    """Each linear map but the head as bitsandbytes' NF4 with double quantisation, one after the other: room for the whole in 16 bits and one of them."""
    import bitsandbytes as bnb

    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and not name.endswith("lm_head"):
            parent = model.get_submodule(name.rpartition(".")[0])
            made = bnb.nn.Linear4bit(
                module.in_features,
                module.out_features,
                bias=module.bias is not None,
                compute_dtype=torch.bfloat16,
                compress_statistics=True,
                quant_type="nf4",
                device="meta",
            )
            made.weight = bnb.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True).to(module.weight.device)
            made.bias = module.bias
            setattr(parent, name.rpartition(".")[2], made)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.is_loaded_in_4bit = True


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Which row it is."""
    return tuple(row.get(name, "torch" if name == "kernels" else None) for name in KEY)


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--kernels", nargs="+", default=["torch"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    begun = time.monotonic()
    done = {key(json.loads(line)): json.loads(line) for line in given.output.read_text().splitlines()} if given.output.exists() else {}
    wanted = sweep(tuple(given.kernels)) if given.sweep else [row | {"kernels": kind} for row in grid() for kind in given.kernels]
    wanted = [row for row in wanted if key(row) not in done and given.only in f"{row['shape']} {row['adapter']}"]
    trial, built = None, None
    with given.output.open("a", encoding="utf-8") as out:
        full: set[tuple[Any, ...]] = set()
        for row in wanted:
            if time.monotonic() - begun > given.seconds:
                print("the time is up", flush=True)
                break
            alike = (row["shape"], row["adapter"], row["length"], row["checkpointing"], row["loss"], row["kernels"])
            if alike in full:
                continue
            if built != (row["shape"], row["adapter"], row["kernels"]):
                trial = None
                gc.collect()
                torch.cuda.empty_cache()
                built = (row["shape"], row["adapter"], row["kernels"])
                trial = Trial(*built, given.device, given.tiny)
            try:
                found = trial.measure(row)
            except torch.OutOfMemoryError:
                found = {"left out": "it does not fit"}
                full.add(alike)
            if "left out" in found:
                trial.optimizer.zero_grad(set_to_none=True)
                gc.collect()
                torch.cuda.empty_cache()
            if given.device == "cuda" and torch.cuda.memory_reserved() > 0.8 * torch.cuda.get_device_properties(0).total_memory:
                torch.cuda.empty_cache()
            out.write(json.dumps(row | found) + "\n")
            out.flush()
            print({name: row[name] for name in KEY[:7]}, {k: v for k, v in found.items() if k != "all"}, flush=True)


if __name__ == "__main__":
    main()
