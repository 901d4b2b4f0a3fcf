"""Optimizer, schedule and their arguments for a trainer of transformers."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from entrypoint.run.muon import MuonWithAdamW, is_matrix
from schemas.base import Recompute
from schemas.job import AdapterJob, OptimisationJob, TrainJob

NAMES = {
    "adamw": "adamw_torch_fused", "adamw_8bit": "adamw_8bit", "paged_adamw": "paged_adamw_32bit", "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor", "muon": "adamw_torch_fused",
}  # fmt: skip
"""As transformers calls them; Muon is made here."""


def optimisation_arguments(job: TrainJob, has_validation: bool) -> dict[str, Any]:
    """What transformers' TrainingArguments are told of optimizer, noise, smoothing and validation."""
    every = job.validation.every
    return {
        "optim": NAMES[job.optimisation.optimizer],
        "neftune_noise_alpha": job.optimisation.neftune,
        "label_smoothing_factor": job.optimisation.label_smoothing,
        "per_device_eval_batch_size": job.validation_rows,
        "eval_strategy": "no" if not has_validation else "steps" if every else "epoch",
        "eval_steps": every,
    }


def training_arguments(job: TrainJob, folder: Path, recipe: Any, has_validation: bool) -> Any:
    """The method's arguments; checkpoints lie in `folder`."""
    return recipe.config(
        **optimisation_arguments(job, has_validation),
        output_dir=str(folder),
        per_device_train_batch_size=job.micro_batch,
        gradient_accumulation_steps=job.accumulation,
        num_train_epochs=job.epochs,
        max_steps=job.max_steps or -1,
        learning_rate=job.learning_rate,
        weight_decay=job.weight_decay,
        max_grad_norm=job.max_grad_norm,
        bf16=job.precision == "bf16",
        fp16=job.precision == "fp16",
        use_cpu=job.device == "cpu",
        gradient_checkpointing=bool(job.gradient_checkpointing),
        gradient_checkpointing_kwargs=recomputation(job.gradient_checkpointing),
        save_strategy="steps",
        save_steps=job.checkpoint_every,
        prediction_loss_only=True,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        seed=job.seed,
        data_seed=job.seed,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=job.device == "cuda",
        disable_tqdm=True,
        ddp_find_unused_parameters=False if job.strategy == "ddp" else None,
        deepspeed=job.engine if job.strategy.startswith("zero") else None,
        **recipe.settings,
    )


def recomputation(wanted: Recompute) -> dict[str, Any] | None:
    """What transformers is told of which layers are computed once more; None: of none."""
    if not wanted:
        return None
    return {"use_reentrant": False, **({"every_n_layers": 2} if wanted == "selective" else {})}


class Optimised:
    """For a trainer: its optimizer and schedule by a job. Set `optimisation` and `adapter` before `train`."""

    optimisation = OptimisationJob()
    adapter = AdapterJob(kind="full")
    made_by: Callable[[list[dict[str, Any]], float], Any] | None = None
    """A user's optimizer, of groups and the learning rate."""

    # Of the trainer.
    args: Any
    model: Any
    optimizer: Any
    lr_scheduler: Any

    def create_optimizer(self, model: Any = None) -> Any:
        """As transformers'; of lora+ with two learning rates, of muon with two optimizers; or a user's."""
        if self.optimizer is None and self.made_by is not None:
            model = model or self.model
            self.optimizer = self.made_by(self._groups(model, [(n, p) for n, p in model.named_parameters() if p.requires_grad]), self.args.learning_rate)
            return self.optimizer
        if self.optimizer is not None or (self.optimisation.optimizer != "muon" and self.adapter.ratio is None):
            return super().create_optimizer(model)  # type: ignore[misc]
        model = model or self.model
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        made, options = self.get_optimizer_cls_and_kwargs(self.args, model)  # type: ignore[attr-defined]
        if self.optimisation.optimizer != "muon":
            self.optimizer = made(self._groups(model, named), **options)
            return self.optimizer
        tables = _tables(model)
        matrices = [pair for pair in named if is_matrix(*pair, tables)]
        others = [pair for pair in named if not is_matrix(*pair, tables)]
        self.optimizer = MuonWithAdamW(self._groups(model, matrices), self._groups(model, others), options["lr"], options["betas"], options["eps"])
        return self.optimizer

    def _groups(self, model: Any, named: list[tuple[str, Any]]) -> list[dict[str, Any]]:
        """Groups that differ in decay or learning rate, none of them empty."""
        decayed = set(self.get_decay_parameter_names(model))  # type: ignore[attr-defined]
        found: dict[tuple[float, float], list[Any]] = {}
        for name, parameter in named:
            # As peft's create_loraplus_optimizer: the matrix that starts at zero, and vectors, learn faster.
            faster = self.adapter.ratio if self.adapter.ratio and ("lora_B" in name or parameter.dim() == 1) else 1.0
            key = (self.args.weight_decay if name in decayed else 0.0, faster * self.args.learning_rate)
            found.setdefault(key, []).append(parameter)
        return [{"params": parameters, "weight_decay": decay, "lr": rate} for (decay, rate), parameters in found.items()]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule over so many steps."""
        if self.lr_scheduler is None:
            self.lr_scheduler = schedule(self.optimisation, self.optimizer if optimizer is None else optimizer, num_training_steps)
            self._created_lr_scheduler = True
        return self.lr_scheduler


def schedule(job: OptimisationJob, optimizer: torch.optim.Optimizer, steps: int) -> Any:
    """transformers' schedule, a LambdaLR: what a checkpoint holds of it is the count of steps."""
    from transformers import get_scheduler

    warmup = math.ceil(round(job.warmup * steps, 6)) if job.warmup_steps is None else job.warmup_steps
    name: str = job.schedule
    options: dict[str, Any] = {}
    if name == "constant":
        name = "constant_with_warmup"
    elif name == "cosine" and job.min_rate:
        name, options = "cosine_with_min_lr", {"min_lr_rate": job.min_rate}
    elif name == "wsd":
        # 1-sqrt: the shape that came out best in arXiv 2405.18392.
        decay = min(math.ceil(round(job.decay * steps, 6)), max(0, steps - warmup))
        name, options = "warmup_stable_decay", {"num_decay_steps": decay, "decay_type": "1-sqrt", "min_lr_ratio": job.min_rate}
    return get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps, scheduler_specific_kwargs=options)


def _tables(model: Any) -> set[str]:
    """Names of the parameters of input and output tables: as large as the vocabulary, and no maps between layers."""
    tables = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    head = model.get_output_embeddings()
    held = {id(parameter) for module in [*tables, *([head] if head is not None else [])] for parameter in module.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in held}
