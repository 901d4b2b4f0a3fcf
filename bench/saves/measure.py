"""What a checkpoint costs the training: stall a save and throughput, sealed behind the training against a plain torch.save, in one run.

measure.py [--billions 1.7] [--steps 40] [--every 20] [--folder DIR] [--output FILE]

The state is a stack of linear layers with fp32 masters and AdamW's moments, trained in bf16 on a GPU (fp32 on a CPU); the saver is the product's.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from entrypoint.run.engine_state import fragments
from entrypoint.run.fragments import Fragment
from entrypoint.run.saver import Saver
from schemas.manifest import Manifest

MANIFEST = Manifest(stage="checkpoint", name="bench", identity="", request="", job={}, program="", files=())


class Work:
    """Something to train whose step takes about as long as a language model's of the same size."""

    def __init__(self, billions: float, tokens: int, micro: int, device: str):
        self.width = 4096 if device == "cuda" else 512
        layers = max(1, round(billions * 1e9 / self.width**2))
        self.device, self.tokens, self.micro = device, tokens, micro
        self.model = torch.nn.Sequential(*(torch.nn.Linear(self.width, self.width, bias=False) for _ in range(layers))).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)

    def step(self) -> None:
        for _ in range(max(1, self.tokens // self.micro)):
            with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
                self.model(torch.randn(self.micro, self.width, device=self.device)).float().pow(2).mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def settle(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def pieces(self) -> list[Fragment]:
        return fragments(self.model, self.optimizer, 0, 1)


def timed(work: Work, steps: int, every: int, save: Any) -> dict[str, Any]:
    """Seconds of the whole and of each stall."""
    stalls = []
    work.settle()
    began = time.monotonic()
    for step in range(1, steps + 1):
        work.step()
        work.settle()
        if step % every == 0 and save is not None:
            at = time.monotonic()
            save(step)
            stalls.append(round(time.monotonic() - at, 4))
    return {"seconds": round(time.monotonic() - began, 3), "stalls": stalls}


def copy_seconds(work: Work) -> float:
    """The state to host memory that is there already, and nothing else; median of five."""
    held = [torch.empty_like(p.tensor, device="cpu", pin_memory=work.device == "cuda") for p in work.pieces()]
    found = []
    for _ in range(5):
        work.settle()
        at = time.monotonic()
        for target, piece in zip(held, work.pieces(), strict=True):
            target.copy_(piece.tensor, non_blocking=True)
        work.settle()
        found.append(time.monotonic() - at)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--billions", type=float, default=0.02)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--micro", type=int, default=128)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "bench-saves")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("result.json"))
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    work = Work(given.billions, given.tokens, given.micro, device)
    for _ in range(3):
        work.step()
    behind: list[float] = []
    saver = Saver(given.folder / "sealed", 1, 0, 1, lambda step, stalled, seconds: behind.append(round(seconds, 3)))

    def sealed(step: int) -> None:
        saver.wait()
        saver.save(step, work.pieces(), {}, {"step": step}, MANIFEST)

    def plain(step: int) -> None:
        torch.save({"model": work.model.state_dict(), "optimizer": work.optimizer.state_dict()}, given.folder / "plain.pt")

    sealed(1)  # host memory is pinned once a run
    saver.wait()
    behind.clear()
    state = sum(p.tensor.numel() * p.tensor.element_size() for p in work.pieces())
    result = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "state_gib": round(state / 2**30, 3),
        "steps": given.steps,
        "every": given.every,
        "copy_seconds": round(copy_seconds(work), 4),
        "without": timed(work, given.steps, given.every, None),
        "sealed": timed(work, given.steps, given.every, sealed),
    }
    saver.wait()
    result["sealed"]["behind_seconds"] = behind  # type: ignore[index]
    shutil.rmtree(given.folder / "sealed")
    result["plain"] = timed(work, given.steps, given.every, plain)
    result["again_without"] = timed(work, given.steps, given.every, None)
    shutil.rmtree(given.folder)
    print(json.dumps(result, indent=1))
    given.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
