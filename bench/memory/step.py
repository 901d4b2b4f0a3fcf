"""One training step as the program takes it: the model, TRL's fused head, autocast and AdamW, on a real device or on fake tensors.

`python step.py --device fake|cuda < rows.jsonl > result.jsonl`: a row is {"shape", "adapter", "batch", "length", "checkpointing", "loss", ...};
a result is the row with bytes: `start` (weights), `forward` (end of the forward pass), `backward` (peak until the gradients are there),
`step` (peak of clipping and the optimizer) and `peak`.
"""

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.integrations.sdpa_attention import repeat_kv

sys.path.insert(0, str(Path(__file__).parent))
from tracked import CudaBytes, LiveBytes

HERE = Path(__file__).parent
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def pretend() -> None:
    """On fake tensors: what a GPU would run where this machine has none. Kernels that write in place write nothing."""
    import torch.nn.functional as functional
    import trl.kernels.chunked_logprob as chunked
    from transformers import AttentionInterface

    chunked._forward_tile = chunked._backward_tile = lambda *args, **kwargs: None  # Triton's, in place
    chunked._addmm_fp32 = lambda acc, a, b: None  # cuBLAS, in place

    functional.dropout = lambda x, p=0.5, training=True, inplace=False: torch.native_dropout(x, p, True)[0] if training and p else x
    apply = chunked.ChunkedLogProbFunction.apply
    # `hidden[mask]` copies; on fake tensors a mask would pick an unknown number.
    chunked.ChunkedLogProbFunction.apply = lambda hidden, *rest: apply(hidden.clone(), *rest)
    AttentionInterface.register("packed", attention)
    torch.nn.Module._apply = converted


def attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, *, scaling: Any = None, dropout: float = 0.0, **given: Any) -> Any:
    """Of fake tensors, as kernels of a GPU keep them: packed rows through flash attention (entrypoint.run.packed_attention); rows of unequal
    length, padded, through the memory-efficient one, which wants as many keys as queries and an additive mask at each call."""
    if torch.is_autocast_enabled(query.device.type):
        query, key, value = (x.to(torch.bfloat16) for x in (query, key, value))
    padded = given.get("padded")
    if padded is None:
        out = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, dropout, True, False, scale=scaling)[0]
        return out.transpose(1, 2).contiguous(), None
    groups = query.shape[1] // key.shape[1]
    key, value = (repeat_kv(x, groups) for x in (key, value))
    bias = torch.zeros(padded.shape, dtype=query.dtype, device=query.device).masked_fill_(padded, float("-inf"))
    bias = bias.expand(query.shape[0], query.shape[1], -1, -1)
    out = torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, bias, True, dropout, False, scale=scaling)[0]
    return out.transpose(1, 2).contiguous(), None


def converted(module: Any, convert: Any, recurse: bool = True) -> Any:
    """As Module._apply, which swaps tensors in place and cannot with fake ones; tied weights stay tied."""
    made: dict[int, Any] = {}
    for each in module.modules():
        for name, parameter in each._parameters.items():
            if parameter is not None:
                if id(parameter) not in made:
                    with torch.no_grad():
                        moved = convert(parameter)
                    made[id(parameter)] = parameter if moved is parameter else torch.nn.Parameter(moved, parameter.requires_grad)
                each._parameters[name] = made[id(parameter)]
        for name, buffer in each._buffers.items():
            if buffer is not None:
                each._buffers[name] = convert(buffer)
    return module


def build(row: dict[str, Any], device: str) -> Any:
    """The model with its adapter, as entrypoint.run.load_model makes them."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl.trainer.sft_trainer import add_fused_lm_head

    shape = row["shape"] if isinstance(row["shape"], dict) else json.loads((HERE / "shapes.json").read_text())[row["shape"]]
    config = AutoConfig.for_model(**shape)
    config.use_cache = False
    dtype = torch.float32 if row["adapter"] == "full" else torch.bfloat16
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa" if row.get("padded") and device == "cuda" else "packed")
    if row["checkpointing"]:
        every = 2 if row["checkpointing"] == "selective" else 1
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False}, every_n_layers=every)
    if row["adapter"] == "lora":
        model = get_peft_model(
            model, LoraConfig(task_type="CAUSAL_LM", r=row.get("rank", 16), lora_alpha=32, lora_dropout=row.get("dropout", 0.0), target_modules=TARGETS)
        )
        if row["checkpointing"]:
            model.enable_input_require_grads()
        if row.get("adapters") == "bf16":
            for parameter in model.parameters():
                parameter.data = parameter.data.to(torch.bfloat16)
    add_fused_lm_head(model.get_base_model() if row["adapter"] == "lora" else model, outputs=("log_probs", "entropy", "is_top1"))
    return model.to(device).train()


def take_step(row: dict[str, Any], device: str, count: Any) -> dict[str, int]:
    """Bytes at each moment of the second step: optimizer states exist from the first on."""
    from accelerate.utils import convert_outputs_to_fp32

    model = build(row, device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=row.get("fused", True))
    for parameter in trained:  # as after the first step
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=device), "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)
        }  # fmt: skip
    ids = torch.zeros((row["batch"], row["length"]), dtype=torch.int64, device=device)
    padded, mask = None, None
    if row.get("padded") and device == "cuda":
        mask = torch.ones_like(ids)
        mask[:, -1] = 0  # or transformers would do without a mask
    elif row.get("padded"):
        padded = torch.zeros((row["batch"], 1, row["length"], row["length"]), dtype=torch.bool, device=device)
    if row.get("accumulated"):
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
    count.add(
        [
            *(parameter.grad for parameter in trained),
            *model.parameters(),
            *model.buffers(),
            *(t for state in optimizer.state.values() for t in state.values()),
            ids,
            padded,
        ]
    )
    forward = torch.autocast(device, dtype=torch.bfloat16, enabled=row.get("autocast", True))(model.forward)
    found = {"start": count.live}
    with count:
        count.mark()
        inputs = {"input_ids": ids, "use_cache": False} | ({} if padded is None else {"padded": padded}) | ({} if mask is None else {"attention_mask": mask})
        if row["loss"] == "chunked":
            out = convert_outputs_to_fp32(forward)(**inputs, labels=ids, fused_lm_head=True)
            loss = (-out.log_probs).sum() / ids.numel()
        else:
            out = convert_outputs_to_fp32(forward)(**inputs, labels=ids)
            loss = out.loss
        found["forward"], found["forward peak"] = count.live, count.mark()
        del out
        loss.backward()
        del loss
        found["backward at"] = count.at
        found["gradients"], found["backward"] = count.live, count.mark()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        try:
            optimizer.step()
        except Exception as error:  # no fake kernel: it works in place
            found["step error"] = str(error)[:200]
        found["step"] = count.mark()
    found["peak"] = max(found["forward peak"], found["backward"], found["step"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=("fake", "cuda"), default="fake")
    device = parser.parse_args().device
    if device == "fake":
        pretend()
    else:
        from entrypoint.run import packed_attention

        packed_attention.register()
    where = "cpu" if device == "fake" else device  # autocast of both casts the same operations of a decoder; torch for CPUs has no guard for fake GPUs
    for line in sys.stdin:
        row = json.loads(line)
        try:
            with FakeTensorMode(allow_non_fake_inputs=True) if device == "fake" else nullcontext():
                found = take_step(row, where, LiveBytes(where) if device == "fake" else CudaBytes())
        except torch.OutOfMemoryError:
            found = {"left out": "it does not fit"}
            torch.cuda.empty_cache()
        print(json.dumps(row | found), flush=True)


if __name__ == "__main__":
    main()
