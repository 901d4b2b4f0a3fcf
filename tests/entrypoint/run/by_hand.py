"""TRL's own trainers over the same rows in the same order, started as TRL's documentation says: text in, losses out."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from entrypoint.run.load_model import load_for_training, lora_config
from entrypoint.run.row_order import RowOrder
from schemas.job import TrainJob

FIRST = 20
"""Losses that are compared."""

TOLERANCE = 1e-5
"""Relative; both run the same kernels on the same numbers, only the order of sums may differ."""


def ordered(rows: list[dict[str, Any]], job: TrainJob) -> Dataset:
    """The rows of the first epoch as a run deals them."""
    order = RowOrder(len(rows), job.micro_batch, job.accumulation, 0, 1, job.seed).permutation(0)
    return Dataset.from_list([rows[i] for i in order])


def arguments(job: TrainJob, output: Path) -> dict[str, Any]:
    """For every config of TRL's."""
    return {
        "output_dir": str(output), "per_device_train_batch_size": job.micro_batch, "gradient_accumulation_steps": job.accumulation,
        "num_train_epochs": job.epochs, "learning_rate": job.learning_rate, "lr_scheduler_type": job.optimisation.schedule, "warmup_steps": job.optimisation.warmup,
        "weight_decay": job.weight_decay, "max_grad_norm": job.max_grad_norm, "seed": job.seed, "train_sampling_strategy": "sequential", "use_cpu": True,
        "bf16": False, "gradient_checkpointing": False, "logging_steps": 1, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
        "max_length": None,
    }  # fmt: skip


def losses(trainer_class: type, config: Any, folder: Path, job: TrainJob, rows: Dataset, tokenizer: Any, **further: Any) -> list[float]:
    """Of each step."""
    torch.set_num_threads(1)  # as the runs that they are compared with
    model = further.pop("model", None) or load_for_training(folder, job)
    peft = further.pop("peft_config", None) or lora_config(job.adapter, model, tokenizer)
    trainer = trainer_class(model=model, args=config, train_dataset=rows, processing_class=tokenizer, peft_config=peft, **further)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
