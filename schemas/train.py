"""Sections `train` and `hardware`: how the optimisation runs and where."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Auto, Percent, Section


class Checkpoint(Section):
    """When a run can be picked up again."""

    every: Auto[Annotated[int, Field(ge=1)]] = None
    """Optimizer steps between two checkpoints. auto: about twenty in a run."""

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

    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate moves after the warm-up."""

    warmup: Percent = 0.03
    """Share of the steps in which the learning rate rises from zero."""

    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decoupled weight decay of AdamW."""

    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm."""

    precision: Auto[Literal["bf16", "fp16", "fp32"]] = None
    """Arithmetic of the forward and backward pass. auto: bf16 where the accelerator has it, fp16 on older ones, fp32 on a CPU."""

    gradient_checkpointing: Auto[bool] = None
    """Recompute activations instead of keeping them: less memory, about a third slower. auto: only when memory needs it."""

    checkpoint: Checkpoint = Checkpoint()
    """When and how many checkpoints are kept."""

    deterministic: Auto[bool] = None
    """Only kernels that give the same bits each time, so that a resumed run equals one that was never stopped. auto: on a CPU, where it is free."""

    max_bad_steps: Annotated[int, Field(ge=1, le=1000)] = 5
    """Steps whose gradients are not numbers are skipped and counted; so many in a row end the run."""

    watchdog: Watchdog = Watchdog()
    """When a run counts as hung."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 17
    """Decides order, dropout, initial adapters and the validation split."""


class Hardware(Section):
    """How the work is spread over this machine."""

    strategy: Auto[Literal["single", "ddp", "zero1", "zero2", "zero3"]] = None
    """single: one process; ddp: a copy on each accelerator; zero1-3: DeepSpeed shards optimizer, gradients, weights. auto: the simplest that fits."""
