"""Leaf of the stage train: TRL's trainer over prepared shards. `python -m entrypoint.run.train TASK`, or the same under torchrun."""

import json
import resource
import shutil
from pathlib import Path
from typing import Any

from entrypoint.run.checkpoints import newest_valid
from entrypoint.run.events import Events, say
from entrypoint.run.leaf import run_leaf
from entrypoint.run.load_model import load_for_training, lora_config
from entrypoint.run.ranks import is_first
from entrypoint.run.weights import WEIGHTS
from schemas.errors import Interrupted
from schemas.job import Task, TrainJob


def train(task: Task, events: Events) -> dict[str, Any]:
    """Fill task.output with weights/, curve.json and a folder a tracker; checkpoints live beside them until it is done."""
    output = Path(task.output)
    if (output / WEIGHTS).is_dir():  # trained to the end before the process was stopped
        return _summary(output)
    trainer = build_trainer(task, events)
    checkpoint = newest_valid(output / "checkpoints", say if is_first() else _silent)
    if checkpoint and is_first():
        say(f"  goes on from {checkpoint.name}")
        events.write("resumed", checkpoint=checkpoint.name)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.stop_asked:
        raise Interrupted(
            f"train was stopped at step {trainer.state.global_step}; its checkpoint is sealed", "run the same command again: it goes on from there"
        )
    _save(trainer, task, output)
    trainer.accelerator.wait_for_everyone()  # no rank leaves while another still writes
    trainer.accelerator.end_training()
    return _summary(output) if is_first() else {}


def build_trainer(task: Task, events: Events) -> Any:
    """The trainer for a task; its imports take seconds, so they wait until here."""
    from entrypoint.run.quiet import hush

    hush()  # before the imports that speak while they are imported
    from transformers import AutoTokenizer

    from entrypoint.run.sealed_trainer import Collator, Progress, SealedTrainer, token_rows
    from entrypoint.run.trackers import Trackers

    job = task.job
    assert isinstance(job, TrainJob)
    trackers = Trackers(task, events) if is_first() else None  # first: a key that is missing is said before the model is loaded
    model_folder, shards = Path(task.inputs["model"]), Path(task.inputs["prepared"])
    tokenizer = AutoTokenizer.from_pretrained(model_folder, local_files_only=True)
    validation = token_rows(shards, "validation")
    # Arguments come first: under ZeRO-3 they decide how the model is built.
    arguments = _arguments(job, Path(task.output), has_validation=validation is not None)
    trainer = SealedTrainer(
        model=load_for_training(model_folder, job),
        args=arguments,
        train_dataset=token_rows(shards, "train"),
        eval_dataset=validation,
        processing_class=tokenizer,
        peft_config=lora_config(job.adapter),
        data_collator=Collator(pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id),
    )
    trainer.keep = job.keep
    trainer.progress = Progress(trainer, events)
    trainer.add_callback(trainer.progress)
    if trackers:
        trainer.add_callback(trackers)
    return trainer


def _arguments(job: TrainJob, output: Path, has_validation: bool) -> Any:
    from trl import SFTConfig

    return SFTConfig(
        output_dir=str(output / "checkpoints"),
        per_device_train_batch_size=job.micro_batch,
        per_device_eval_batch_size=job.micro_batch,
        gradient_accumulation_steps=job.accumulation,
        num_train_epochs=job.epochs,
        max_steps=job.max_steps or -1,
        learning_rate=job.learning_rate,
        lr_scheduler_type=job.schedule,
        warmup_steps=job.warmup if 0 < job.warmup < 1 else 0,
        weight_decay=job.weight_decay,
        max_grad_norm=job.max_grad_norm,
        bf16=job.precision == "bf16",
        fp16=job.precision == "fp16",
        use_cpu=job.device == "cpu",
        gradient_checkpointing=job.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if job.gradient_checkpointing else None,
        save_strategy="steps",
        save_steps=job.checkpoint_every,
        eval_strategy="epoch" if has_validation else "no",
        prediction_loss_only=True,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        seed=job.seed,
        data_seed=job.seed,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=job.device == "cuda",
        disable_tqdm=True,
        ddp_find_unused_parameters=False if job.strategy == "ddp" else None,
        deepspeed=job.engine or None,
    )


def _save(trainer: Any, task: Task, output: Path) -> None:
    """Write the weights under a draft name, then give them their own: a folder `weights` is always whole."""
    draft = output / f"{WEIGHTS}.draft"
    trainer.save_model(str(draft))  # on every rank: sharded weights are gathered here
    trainer.accelerator.wait_for_everyone()
    if not is_first():
        return
    (draft / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing here reads
    for card in draft.glob("README.md"):
        card.unlink()
    curve = [{k: v for k, v in entry.items() if k != "total_flos"} for entry in trainer.state.log_history]
    (output / "curve.json").write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
    (output / "measured.json").write_text(json.dumps(_measured(trainer), indent=1) + "\n", encoding="utf-8")
    draft.rename(output / WEIGHTS)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)


def _measured(trainer: Any) -> dict[str, float]:
    """What this attempt took: peak memory of this process, GiB, and its speed."""
    import torch

    on_gpu = trainer.args.device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak_gib": round(peak / 2**30, 3), "tokens_per_second": round(trainer.progress.mean_rate(), 1)}


def _summary(output: Path) -> dict[str, Any]:
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    curve = json.loads((output / "curve.json").read_text(encoding="utf-8"))
    losses = [entry["loss"] for entry in curve if "loss" in entry]
    evaluated = [entry["eval_loss"] for entry in curve if "eval_loss" in entry]
    return {
        "steps": max((entry["step"] for entry in curve), default=0),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
        "validation_loss": evaluated[-1] if evaluated else None,
        **json.loads((output / "measured.json").read_text(encoding="utf-8")),
    }


def _silent(_: str) -> None:
    """Ranks but the first say nothing."""


if __name__ == "__main__":
    run_leaf(train)
