"""Leaf of the stage train: TRL's trainer over prepared shards. `python -m entrypoint.run.train TASK`, or the same under torchrun."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from entrypoint import __version__
from entrypoint.run.checkpoints import CHECKPOINTS, clear_the_way, newest_valid, training_of, valid_at
from entrypoint.run.events import Events, say
from entrypoint.run.leaf import run_leaf, versions
from entrypoint.run.load_model import lora_config, thawed
from entrypoint.run.lowered import LESS, compares_rows, end_lowered, is_out_of_memory, lower
from entrypoint.run.muster import muster
from entrypoint.run.plugin_code import PluginCode
from entrypoint.run.ranks import is_first, is_one_of_several, leave, local_rank, rank, ranks
from entrypoint.run.row_stream import clear_stream
from entrypoint.run.seal import publish, write_durably
from entrypoint.run.weights import WEIGHTS
from schemas.errors import CaissonError, Interrupted, MachineError
from schemas.job import HOW, TEMPLATE, Task, TrainJob
from schemas.manifest import Manifest


def train(task: Task, events: Events) -> dict[str, Any]:
    """Fill task.output with weights/, curve.json and a folder a tracker; checkpoints live beside them until it is done."""
    output = Path(task.output)
    if (output / WEIGHTS).is_dir():  # trained to the end before the process was stopped
        return _summary(output)
    job = task.job
    assert isinstance(job, TrainJob)
    lowered = lower(job, output / CHECKPOINTS)
    if lowered != job and is_first():
        say(f"  {lowered.micro_batch} x {lowered.accumulation} rows in place of {job.micro_batch} x {job.accumulation}: the memory ran out before")
    code = PluginCode(job.plugins, Path(task.inputs.get("plugins", "")))
    with code.words():
        return _train(task.model_copy(update={"job": lowered}), events, code, lambda step: end_lowered(lowered, output / CHECKPOINTS, step, job.micro_batch))


def _train(task: Task, events: Events, code: PluginCode, give_up: Callable[[int], CaissonError]) -> dict[str, Any]:
    output = Path(task.output)
    trainer, stream = build_trainer(task, events, code)
    trainer.give_up = give_up
    try:
        _go_on(trainer, output / CHECKPOINTS, events)
        trainer.train()
        trainer.saver.wait()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MachineError(f"the memory ran out at step {trainer.state.global_step + 1}, not in its forward or backward pass: {error}", LESS) from None
    finally:
        if stream:
            stream.end()
    if trainer.stop_asked and trainer.state.global_step < trainer.state.max_steps:
        trainer.accelerator.wait_for_everyone()  # the first that leaves starts the clock of the others: it has to be sealed by then
        if local_rank():  # the first process of a machine says it for all
            leave(Interrupted.exit_code)
        raise Interrupted(
            f"train was stopped at step {trainer.state.global_step}; its checkpoint is sealed", "run the same command again: it goes on from there"
        )
    trainer.bad_steps.end(trainer.state.global_step)
    _take_best(trainer, output / CHECKPOINTS)
    _save(trainer, task, output)
    trainer.accelerator.wait_for_everyone()  # no rank leaves while another still writes
    trainer.accelerator.end_training()
    return _summary(output) if is_first() else {}


def _go_on(trainer: Any, checkpoints: Path, events: Events) -> None:
    """Let the trainer start where the newest valid checkpoint ends."""
    from entrypoint.run.resume import Resume

    checkpoint = _choose(checkpoints)
    if is_first():
        clear_the_way(checkpoints, checkpoint)
    trainer.accelerator.wait_for_everyone()
    if checkpoint is None:
        return
    trainer.resumed = Resume(checkpoint)
    trainer.segments = trainer.resumed.segments(trainer.segments[0])
    if is_first():
        say(f"  goes on from {checkpoint.name}")
        events.write("resumed", checkpoint=checkpoint.name)


def _take_best(trainer: Any, checkpoints: Path) -> None:
    """Go back to the best checkpoint where the spec wants its weights; says so, and where it cannot."""
    step = trainer.judge.spare
    trainer.taken = trainer.state.global_step
    if step is None or step == trainer.taken:
        return
    found = _agreed(valid_at(checkpoints, step, training_of(checkpoints)) if is_first() else None, checkpoints)
    if is_first():
        say(
            f"  the weights are those of step {step}, the best"
            if found
            else f"  the checkpoint of step {step}, the best, is damaged: the last weights are taken"
        )
    if found:
        trainer.take(found)
        trainer.taken = step


def _choose(checkpoints: Path) -> Path | None:
    """The first rank's choice, for all: nodes do not see at once what others wrote into a network file system."""
    if not is_one_of_several():
        return newest_valid(checkpoints, training_of(checkpoints), say)
    return _agreed(newest_valid(checkpoints, training_of(checkpoints), say) if is_first() else None, checkpoints)


def _agreed(chosen: Path | None, checkpoints: Path) -> Path | None:
    """What the first rank found."""
    if not is_one_of_several():
        return chosen
    import torch.distributed

    told = [chosen.name if chosen else None]
    torch.distributed.broadcast_object_list(told, src=0)
    return checkpoints / told[0] if told[0] else None


def build_trainer(task: Task, events: Events, code: PluginCode) -> tuple[Any, Any]:
    """The trainer for a task, and the RowStream that it learns from, where rows are streamed; its imports take seconds, so they wait until here."""
    from entrypoint.run.quiet import hush

    hush()  # before the imports that speak while they are imported
    from transformers import AutoTokenizer

    from entrypoint.run.bad_steps import BadSteps
    from entrypoint.run.deal import deal
    from entrypoint.run.judge import Judge
    from entrypoint.run.mapped_files import MappedFiles
    from entrypoint.run.methods import recipe_of
    from entrypoint.run.optimised import training_arguments
    from entrypoint.run.plugged import layers_over, plug_in, trainer_arguments
    from entrypoint.run.principal import Principal
    from entrypoint.run.progress import Progress
    from entrypoint.run.saver import Saver
    from entrypoint.run.sealed_trainer import sealed
    from entrypoint.run.trackers import Trackers
    from entrypoint.run.watchdog import Watchdog

    job = task.job
    assert isinstance(job, TrainJob)
    _be_deterministic(job)
    # What is missing is said before the model is loaded.
    trackers = Trackers(task, events) if is_first() else None
    model_folder, shards = Path(task.inputs["model"]), Path(task.inputs["prepared"])
    tokenizer = AutoTokenizer.from_pretrained(model_folder, local_files_only=True)
    if (shards / TEMPLATE).is_file():  # goes with the weights to export and serving
        tokenizer.chat_template = (shards / TEMPLATE).read_text(encoding="utf-8")
    recipe = recipe_of(job, tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
    given = deal(task, recipe)
    # Arguments come first: under ZeRO-3 they decide how the model is built.
    arguments = training_arguments(job, Path(task.output) / CHECKPOINTS, recipe, has_validation=given.validation is not None)
    if job.nodes > 1:
        muster(task)
    model = thawed(recipe.load(model_folder, job), job)
    trainer = sealed(recipe.trainer, *layers_over(recipe.trainer, code))(
        model=model,
        args=arguments,
        fsdp=job.engine if job.strategy == "fsdp" else None,
        train_dataset=given.rows,
        eval_dataset=given.validation,
        processing_class=tokenizer,
        peft_config=_peft(job, recipe, model, tokenizer),
        data_collator=given.collator,
        **recipe.companions(task),
        **trainer_arguments(code),
    )
    if job.pack_length and job.strategy not in ("fsdp", "zero3"):  # there no process can compute with its part of the model before training begins
        from entrypoint.run.packed_attention import prove

        prove(trainer.model)
    trainer.progress = Progress(events, job.predicted)
    given.hand_to(trainer)
    trainer.saver = Saver(Path(task.output) / CHECKPOINTS, job.keep, rank(), ranks(), trainer.progress.sealed)
    if job.offload == "nvme":
        trainer.files = trainer.saver.files = MappedFiles(Path(task.output) / CHECKPOINTS)
    trainer.watchdog = Watchdog(job.watchdog_times, job.watchdog_seconds)
    trainer.bad_steps = BadSteps(job.max_bad_steps, _reporter(events, given.rows_of))
    trainer.optimisation, trainer.adapter = job.optimisation, job.adapter
    trainer.principal = Principal(job.adapter.kind) if job.adapter.kind in ("pissa", "olora") else None
    trainer.judge = Judge(job.validation, events)
    trainer.checkpoint_seconds, trainer.checkpoint_apart = job.checkpoint_seconds, job.checkpoint_apart
    trainer.checkpoint_manifest = Manifest(
        stage="checkpoint", name=task.name, identity=training_of(Path(task.output) / CHECKPOINTS), request="", job=job.model_dump(mode="json"),
        image_lock=task.image_lock, program=__version__, versions=versions(), files=(),
    )  # fmt: skip
    trainer.segments = [{"after_step": 0, **job.model_dump(mode="json", include=set(HOW)), "image_lock": task.image_lock, "program": __version__}]
    trainer.report_lowered, trainer.compares_rows, trainer.raising = trainer.progress.lowered, compares_rows(job), job.raising
    trainer.add_callback(trainer.progress)
    trainer.add_callback(trainer.judge)
    plug_in(trainer, code)
    if trackers:
        trainer.add_callback(trackers)
    return trainer, given.stream


def _peft(job: TrainJob, recipe: Any, model: Any, tokenizer: Any) -> Any:
    """peft's configuration with what the method adds; None where the model's own weights are trained."""
    config = lora_config(job.adapter, model, tokenizer)
    if config is not None:
        for name, value in recipe.peft.items():
            setattr(config, name, [*(getattr(config, name) or ()), *value] if isinstance(value, list) else value)
    return config


def _be_deterministic(job: TrainJob) -> None:
    """The same bits from the same start: kernels whose sums depend on timing are refused by torch."""
    if job.deterministic:
        import torch

        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def _reporter(events: Events, rows_of: Callable[[int], list[int]]) -> Callable[[int, list[int], float], None]:
    """Says and records a step that was skipped."""

    def report(step: int, rows: list[int], norm: float) -> None:
        rows = [row for number in rows for row in rows_of(number)]
        if is_first():
            say(f"  step {step} is skipped: its gradients are not numbers (rows {', '.join(map(str, rows[:8]))}{', ...' if len(rows) > 8 else ''})")
            events.write("skipped", step=step, rows=rows, norm=str(norm))

    return report


def _save(trainer: Any, task: Task, output: Path) -> None:
    """Write the weights under a draft name, then give them their own: a folder `weights` is always whole."""
    from entrypoint.run.progress import finite

    draft = output / f"{WEIGHTS}.draft"
    trainer.save_model(str(draft))  # on every rank: sharded weights are gathered here
    if trainer.files is not None:
        trainer.files.check()  # each rank those that it gave
    trainer.accelerator.wait_for_everyone()
    if not is_first():
        return
    (draft / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing here reads
    for card in draft.glob("README.md"):
        card.unlink()
    curve = [{k: finite(v) for k, v in entry.items() if k != "total_flos"} for entry in trainer.state.log_history]
    told = {"curve": curve, "measured": _measured(trainer, task), "segments": trainer.segments}
    if task.job.stage == "train" and task.job.stream:
        told["report"] = trainer.dealt.report(trainer.order.taken, task.job.stream.max_length, task.job.stream.deduplicate)
    for name, content in told.items():
        write_durably(output / f"{name}.json", json.dumps(content, indent=1) + "\n")
    if trainer.principal is not None:
        trainer.principal.convert(draft)
    publish(draft, output / WEIGHTS)  # flushed before the checkpoints go: a power cut must leave one or the other
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)


def _measured(trainer: Any, task: Task) -> dict[str, Any]:
    """What this attempt took: peak memory of this process, GiB, its speed, and what the next plan learns from it."""
    from entrypoint.run.measurement import measurement
    from entrypoint.run.progress import peak_gib

    learned = measurement(task, trainer.progress, trainer.rows_at_once)
    return {
        "weights_of_step": trainer.taken, "peak_gib": peak_gib(), "tokens_per_second": round(trainer.progress.mean_rate(), 1),
        "measured": learned.model_dump(mode="json") if learned else None,
    }  # fmt: skip


def _summary(output: Path) -> dict[str, Any]:
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    clear_stream(output)
    curve = json.loads((output / "curve.json").read_text(encoding="utf-8"))
    losses = [entry["loss"] for entry in curve if "loss" in entry]
    evaluated = [entry["eval_loss"] for entry in curve if "eval_loss" in entry]
    return {
        "steps": max((entry["step"] for entry in curve), default=0),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
        "validation_loss": evaluated[-1] if evaluated else None,
        "segments": json.loads((output / "segments.json").read_text(encoding="utf-8")),
        **json.loads((output / "measured.json").read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    run_leaf(train)
