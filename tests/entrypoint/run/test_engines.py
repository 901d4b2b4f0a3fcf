"""Every engine trains as one process of plain torch does: the same rows in each step, and so the same losses."""

import json
import re

import pytest

pytest.importorskip("trl")

from tiny import run, spec

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

TRAIN = "{{max_steps: 10, learning_rate: {rate}, batch_tokens: 240, warmup: 0%}}"
ADAPTERS = {"full": ("{kind: full}", "1.0e-3"), "lora": ("{kind: lora, rank: 8}", "1.0e-2"), "qlora": ("{kind: qlora, rank: 8}", "1.0e-2")}
"""With learning rates at which ten steps are seen in the loss."""

ENGINES = {
    "ddp": "{strategy: ddp}",
    "fsdp": "{strategy: fsdp}",
    "zero1": "{strategy: zero1}",
    "zero2": "{strategy: zero2}",
    "zero3": "{strategy: zero3}",
    "zero1-offload": "{strategy: zero1, offload: cpu}",
    "zero2-offload": "{strategy: zero2, offload: cpu}",
    "zero3-offload": "{strategy: zero3, offload: cpu}",
    "zero1-nvme": "{strategy: zero1, offload: nvme}",
    "zero2-nvme": "{strategy: zero2, offload: nvme}",
    "zero3-nvme": "{strategy: zero3, offload: nvme}",
}
PAIRS = [
    *((engine, "full") for engine in ("ddp", "fsdp", "zero2", "zero3", "zero3-nvme")),
    ("fsdp", "lora"),
    ("zero3", "lora"),
    ("zero3-offload", "lora"),
    ("zero2-offload", "qlora"),
]
LONG = [
    ("ddp", "lora"),
    ("zero1", "full"),
    ("zero2-offload", "full"),
    ("zero3-offload", "full"),
    ("zero1-offload", "full"),
    ("zero1-nvme", "full"),
    ("zero2-nvme", "full"),
    ("zero3-nvme", "lora"),
    ("zero2-nvme", "qlora"),
]

TOLERANCE = 1e-5
"""Of a loss, relative, in fp32: the sums of a step are made in other parts and another order, which was seen to move a loss by 1e-7."""

TOLERANCE_4_BITS = 5e-4
"""Under QLoRA products are rounded otherwise in another micro-batch: 5e-5 was seen."""


@pytest.fixture(scope="module")
def losses(sources, fetched, tmp_path_factory):
    """The losses of ten steps, by hardware and adapter; each pair is trained once."""
    found: dict[tuple[str, str], list[float]] = {}

    def of(hardware: str, adapter: str) -> list[float]:
        if (hardware, adapter) not in found:
            folder = tmp_path_factory.mktemp("run")
            kind, rate = ADAPTERS[adapter]
            path = spec(folder, *sources, adapter=kind, train=TRAIN.format(rate=rate), hardware=hardware)
            said = run("train", path, "--store", fetched, cwd=folder)
            artifact = fetched / re.search(r"tiny/train/[0-9a-f]{16}", said)[0]
            found[hardware, adapter] = [entry["loss"] for entry in json.loads((artifact / "curve.json").read_text()) if "loss" in entry]
        return found[hardware, adapter]

    return of


@pytest.mark.parametrize(("engine", "adapter"), [*PAIRS, *(pytest.param(*pair, marks=pytest.mark.long) for pair in LONG)], ids=map("-".join, [*PAIRS, *LONG]))
def test_the_first_ten_losses_are_those_of_one_process(losses, engine, adapter):
    alone = losses("{strategy: single}", adapter)
    together = losses(ENGINES[engine], adapter)
    assert len(together) == len(alone) == 10
    assert alone[-1] < 0.95 * alone[0], "it learns: a step that does nothing would be found"
    assert together == pytest.approx(alone, rel=TOLERANCE_4_BITS if adapter == "qlora" else TOLERANCE)
