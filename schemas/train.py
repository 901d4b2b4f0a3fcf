"""Sections `train` and `hardware`: how the optimisation runs and where."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Auto, Percent, Recompute, Section

RENDEZVOUS_PORT = 29_400
"""Where none is written: torchrun's own."""


def check_rendezvous(value: str) -> str:
    """Return HOST:PORT, with the default port where none was written."""
    found = re.fullmatch(r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?", value)
    if not found or not 1 <= int(found["port"] or RENDEZVOUS_PORT) <= 65_535:
        raise PydanticCustomError("rendezvous", "must be HOST or HOST:PORT, an IPv6 address in brackets, the port from 1 to 65535")
    return f"{found['host']}:{found['port'] or RENDEZVOUS_PORT}"


class Checkpoint(Section):
    """When a run can be picked up again."""

    every: Auto[Annotated[int, Field(ge=1)]] = None
    """Optimizer steps between two checkpoints. auto: about twenty in a run, four of large ones, further apart where the disk is slow."""

    every_minutes: Auto[Annotated[float, Field(gt=0, le=10_080)]] = None
    """Minutes after which one is written whatever the steps say. auto: by steps alone."""

    keep: Annotated[int, Field(ge=1, le=100)] = 2
    """How many of the newest checkpoints stay. With 1, damage to the only one starts the run anew."""


class Watchdog(Section):
    """When a run counts as hung: it is ended with the stack of every process in the log, and the same command goes on."""

    times: Annotated[float, Field(ge=3, le=10_000)] = 30.0
    """How many times the median step may pass without one."""

    at_least_seconds: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    """Patience however short the steps are."""


class Validation(Section):
    """How a run is judged while it trains; needs data.validation."""

    every: Auto[Annotated[int, Field(ge=1)]] = None
    """Optimizer steps between two validations; the last step is always followed by one. auto: at the end of each epoch."""

    batch_rows: Auto[Annotated[int, Field(ge=1, le=4096)]] = None
    """Rows that a process computes at once in a validation, which keeps nothing for a backward pass. auto: as many as in training."""

    metric: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_/]*$")] = "loss"
    """What patience and best look at, as it is logged without `eval_`: loss, mean_token_accuracy, rewards/accuracies. Losses and entropy are better
    low, all others high."""

    patience: Auto[Annotated[int, Field(ge=1, le=1000)]] = None
    """Validations in a row without a better metric after which training ends. auto: never."""

    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """By how much a metric has to be better to count as better."""

    best: bool = False
    """Keep the checkpoint with the best metric beside the newest and take its weights as the result. Otherwise those of the last step are."""


class Train(Section):
    """The optimisation."""

    epochs: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Passes over the training rows."""

    max_steps: Auto[Annotated[int, Field(ge=1)]] = None
    """Optimizer steps after which training ends whatever the epochs say. auto: no limit."""

    learning_rate: Auto[Annotated[float, Field(gt=0, lt=1)]] = None
    """Peak learning rate. auto: a value for the method and adapter, printed with its source."""

    batch_tokens: Auto[Annotated[int, Field(ge=16, le=16_777_216)]] = None
    """Tokens that one optimizer step learns from, padding not counted. auto: by the size of the data."""

    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "muon"] = "adamw"
    """adamw: torch's, fused; adamw_8bit: bitsandbytes, a quarter of the state; paged: state moves to the host's memory when the GPU's is full;
    adafactor: hardly any state; muon: orthogonal updates of matrices, AdamW for the rest. All but adamw go with single and ddp."""

    schedule: Literal["linear", "cosine", "constant", "wsd", "inverse_sqrt"] = "linear"
    """How the learning rate moves after the warm-up: linear and cosine fall to min_rate at the end; constant stays; wsd stays and falls over the
    share `decay`; inverse_sqrt falls with the root of the steps."""

    warmup: Percent = 0.03
    """Share of the steps in which the learning rate rises from zero."""

    warmup_steps: Auto[Annotated[int, Field(ge=0)]] = None
    """Steps in which the learning rate rises from zero, in place of a share. auto: the share `warmup`."""

    decay: Auto[Percent] = None
    """Share of the steps over which wsd lowers the learning rate at the end. auto: 20%."""

    min_rate: Percent = 0.0
    """Share of the peak learning rate that is left at the end of cosine and wsd."""

    neftune: Auto[Annotated[float, Field(gt=0, le=100)]] = None
    """Scale of the noise that is added to embeddings in training (NEFTune, arXiv 2310.05914: 5 to 15). auto: none."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over the whole vocabulary; the loss then needs all logits at once."""

    group_by_length: bool = False
    """Rows of like length come together in a step, so that less is padded. The order of the rows is another one, though no less fixed."""

    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decoupled weight decay."""

    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm."""

    precision: Auto[Literal["bf16", "fp16", "fp32"]] = None
    """Arithmetic of the forward and backward pass. auto: bf16 where the accelerator has it, fp16 on older ones, fp32 on a CPU."""

    gradient_checkpointing: Auto[Recompute] = None
    """Recompute activations instead of keeping them: less memory, about a third slower. selective: of every second layer, half of both. auto: whichever is
    fastest with the rows that fit at once."""

    kernels: Auto[Literal["torch", "liger"]] = None
    """Who computes norms, rotary embeddings and the MLP's gate: transformers' own code, or Liger's Triton kernels, which are for GPUs. auto: whichever is
    faster where Liger's were measured for this kind of model; torch with `deterministic: true`."""

    checkpoint: Checkpoint = Checkpoint()
    """When and how many checkpoints are kept."""

    validation: Validation = Validation()
    """When it is validated, and what follows from that."""

    deterministic: Auto[bool] = None
    """Only kernels that give the same bits each time, so that a resumed run equals one that was never stopped. auto: on a CPU, where it is free."""

    max_bad_steps: Annotated[int, Field(ge=1, le=1000)] = 5
    """Steps whose gradients are not numbers are skipped and counted; so many in a row end the run."""

    watchdog: Watchdog = Watchdog()
    """When a run counts as hung."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 17
    """Decides order, dropout, initial adapters and the validation split."""

    @model_validator(mode="after")
    def _written_once(self) -> "Train":
        written = self.model_fields_set
        if "warmup" in written and self.warmup_steps is not None:
            raise PydanticCustomError("together", "has the warm-up as a share and in steps", {"fix": "take warmup or warmup_steps out"})
        if self.decay is not None and self.schedule != "wsd":
            raise PydanticCustomError("together", "decay is for schedule: wsd", {"fix": "write schedule: wsd, or take decay out"})
        if self.schedule == "wsd" and self.warmup_steps is None and self.warmup + (self.decay or 0.0) > 1:
            raise PydanticCustomError("together", "warms up and decays over more than all steps", {"fix": "make warmup and decay 100% at most together"})
        if self.min_rate and self.schedule not in ("cosine", "wsd"):
            raise PydanticCustomError("together", "min_rate is for schedule: cosine or wsd", {"fix": "write schedule: cosine or wsd, or take min_rate out"})
        return self


class Hardware(Section):
    """How the work is spread over this machine, or over several."""

    strategy: Auto[Literal["single", "ddp", "fsdp", "zero1", "zero2", "zero3"]] = None
    """single: one process; ddp: a copy on each accelerator; fsdp: torch shards all (FSDP2); zero1-3: DeepSpeed shards optimizer, gradients, weights. auto: the simplest that fits and is nearly as fast as the fastest."""

    offload: Literal["none", "cpu", "nvme"] = "none"
    """cpu: what an optimizer step needs lies in the host's memory and the step runs on the CPU; with zero3 the weights lie there too. Slower. nvme: all that in files of the store, of which memory holds what it has room for. Much slower."""

    nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Machines that train together, all alike, over one store that all of them mount: docs/nodes.md."""

    rendezvous: Auto[Annotated[str, AfterValidator(check_rendezvous)]] = None
    """HOST or HOST:PORT of the node where the others find each other, port 29400 unless written; wanted with more than one node."""

    price: Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)] = 0.0
    """What an hour of one machine costs, in any currency: the plan then says what the training will cost, and decides nothing by it. 0: not said."""

    @model_validator(mode="after")
    def _go_together(self) -> "Hardware":
        if self.nodes > 1 and self.rendezvous is None:
            fix = "add `rendezvous: HOST:PORT`, the address of one of them as the others reach it"
            raise PydanticCustomError("nodes", "{nodes} nodes need a rendezvous to find each other", {"nodes": self.nodes, "fix": fix})
        if self.nodes == 1 and self.rendezvous is not None:
            raise PydanticCustomError("nodes", "a rendezvous is for more than one node", {"fix": "add `nodes: N`, or take the rendezvous out"})
        if self.nodes > 1 and self.strategy == "single":
            fix = "use strategy: auto, ddp, fsdp, zero1, zero2 or zero3"
            raise PydanticCustomError("nodes", "strategy single is one process, which cannot be on {nodes} nodes", {"nodes": self.nodes, "fix": fix})
        return self
