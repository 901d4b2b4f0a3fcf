"""The column beside Caisson: transformers' Trainer, saving and resuming as its documentation says.

    train_transformers.py SETTINGS      (or the same under torchrun)

SETTINGS is a JSON file: shards, model, output and the numbers. The same tiny model, tokens and hyperparameters as the spec of the other
column. One command for both, start and resume, as in the examples that transformers ships: with a checkpoint in the output folder the
run goes on from it.
"""

import json
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint


def rows(shards: Path) -> list[dict]:
    """Token ids, and labels with -100 where no loss is taken."""
    found = []
    for path in sorted(shards.glob("train-*.safetensors")):
        shard = load_file(path)
        for start, end in zip(shard["starts"], shard["starts"][1:], strict=False):
            ids, on = shard["ids"][start:end].tolist(), shard["supervised"][start:end]
            found.append({"input_ids": ids, "labels": [i if s else -100 for i, s in zip(ids, on, strict=True)]})
    return found


class Steps(TrainerCallback):
    """One line for each optimizer step, so that the bench sees how far a run came. Outside the output folder."""

    def __init__(self, path: Path):
        self.path = path

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.is_world_process_zero and "loss" in (logs or {}):
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"at": time.time(), "event": "step", "step": state.global_step, "loss": logs["loss"]}) + "\n")


def main() -> None:
    """Train, or go on; then write final/ and curve.json."""
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    output = Path(given["output"])
    if given["repaired"]:
        # Two processes on CPUs: accelerate names the device cpu:0, transformers hands that to torch.load, and torch knows only "cpu". No run of
        # that kind can go on from any checkpoint. Repaired here, so that the trials show what a kill does.
        torch.serialization.register_package(9, lambda storage: None, lambda storage, location: storage if location.startswith("cpu:") else None)
    set_seed(given["seed"])
    tokenizer = AutoTokenizer.from_pretrained(given["model"])
    model = AutoModelForCausalLM.from_pretrained(given["model"], dtype=torch.float32)
    lora = LoraConfig(r=given["rank"], lora_alpha=given["alpha"], lora_dropout=given["dropout"], target_modules=given["targets"], task_type="CAUSAL_LM")
    trainer = Trainer(
        model=get_peft_model(model, lora),
        args=TrainingArguments(
            output_dir=str(output),
            max_steps=given["steps"],
            per_device_train_batch_size=given["micro_batch"],
            gradient_accumulation_steps=given["accumulation"],
            learning_rate=given["learning_rate"],
            warmup_steps=given["warmup"],
            save_steps=given["every"],
            save_total_limit=given["keep"],
            logging_steps=1,
            report_to="none",
            seed=given["seed"],
            use_cpu=True,
            disable_tqdm=True,
            ddp_find_unused_parameters=False if given["ranks"] > 1 else None,
        ),
        train_dataset=rows(Path(given["shards"])),
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
        processing_class=tokenizer,
        callbacks=[Steps(Path(given["events"]))],
    )
    trainer.train(resume_from_checkpoint=True if output.is_dir() and get_last_checkpoint(output) else None)
    trainer.save_model(str(output / "final"))
    if trainer.is_world_process_zero():
        (output / "curve.json").write_text(json.dumps(trainer.state.log_history, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
