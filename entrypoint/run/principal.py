"""PiSSA and OLoRA: an adapter that starts as a part of each weight, taken out of the base.

What is saved must fit the base as everybody has it: W + s (B A - B0 A0) is W with an adapter [A; A0], [B, -B0] of twice the rank. The
start (A0, B0) lies in every checkpoint: a decomposition made anew on another machine could have other signs.
"""

import json
from pathlib import Path
from typing import Any

import torch

from entrypoint.run.fragments import Fragment, FragmentReader
from entrypoint.run.ranks import ranks

KIND = "initial"
ADAPTER = "default"
"""peft's name of the only adapter."""


class Principal:
    """The start of each adapter, fp32 on the host, by the name of its parameter."""

    def __init__(self, kind: str):
        self.kind = kind
        self.start: dict[str, torch.Tensor] = {}

    def begin(self, model: Any, device: torch.device, reader: FragmentReader | None) -> None:
        """Give each adapter its start and take the same out of the base, in place; `reader` is of the checkpoint that is gone on from, if any."""
        for name, layer in _layers(model):
            home = layer.get_base_layer().weight.device
            layer.to(device)
            a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
            names = (f"{name}.lora_A.{ADAPTER}.weight", f"{name}.lora_B.{ADAPTER}.weight")
            if reader is None:
                a0, b0 = self._decompose(layer)
            else:
                a0, b0 = (reader.read(KIND, f"{KIND}.{n}", 0, p.numel()).view(p.shape).to(device) for n, p in zip(names, (a, b), strict=True))
            if ranks() > 1:
                for tensor in (a0, b0):
                    torch.distributed.broadcast(tensor, 0)
            with torch.no_grad():
                a.copy_(a0)
                b.copy_(b0)
                weight = layer.get_base_layer().weight
                part = layer.scaling[ADAPTER] * (b0 @ a0)
                weight.copy_((weight.float() - (part.T if layer.fan_in_fan_out else part)).to(weight.dtype))
            layer.to(home)
            self.start |= {names[0]: a0.cpu(), names[1]: b0.cpu()}

    def _decompose(self, layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """peft's decomposition, with the base as it was before."""
        base = layer.get_base_layer()
        before = base.weight.data.clone()
        if self.kind == "pissa":
            layer.pissa_init(ADAPTER, "pissa")
        else:
            layer.olora_init(ADAPTER)
        base.weight.data = before
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        return a.data.float().contiguous().clone(), b.data.float().contiguous().clone()

    def fragments(self) -> list[Fragment]:
        """For a checkpoint, of one rank."""
        return [Fragment(KIND, f"{KIND}.{name}", 0, tensor.view(-1)) for name, tensor in self.start.items()]

    def convert(self, folder: Path) -> None:
        """Turn a saved adapter of the changed base into one of twice the rank for the base as it was, in place."""
        from safetensors.torch import load_file, save_file

        path = folder / "adapter_model.safetensors"
        saved = {name: tensor.float() if ".lora_" in name else tensor for name, tensor in load_file(path).items()}
        for name, start in self.start.items():
            short = name.replace(f".{ADAPTER}.weight", ".weight")
            along, sign = (0, 1.0) if ".lora_A." in name else (1, -1.0)
            saved[short] = torch.cat([saved[short], sign * start], dim=along).contiguous()
        save_file(saved, path, metadata={"format": "pt"})
        config_path = folder / "adapter_config.json"
        config = json.loads(config_path.read_text(encoding="utf-8"))
        config |= {"r": 2 * config["r"], "lora_alpha": 2 * config["lora_alpha"], "init_lora_weights": True}
        config_path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _layers(model: Any) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
