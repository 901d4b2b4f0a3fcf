"""sft and pretrain: the next token, where the shards say that it carries loss."""

from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from entrypoint.run.methods.recipe import Recipe


def text(pad: int) -> Recipe:
    """TRL's SFTTrainer. The collator pads ids with the pad token and labels with -100: where pad and end token are one, the mask tells them apart."""
    return Recipe(
        SFTTrainer, SFTConfig, DataCollatorForLanguageModeling(pad_token_id=pad), {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    )
