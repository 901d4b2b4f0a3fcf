"""reward: a head that gives one number to an answer, over pairs."""

from typing import Any

from trl import RewardConfig, RewardTrainer

from entrypoint.run.methods.pairs import WholeCollator
from entrypoint.run.methods.recipe import Recipe, switch_off_dropout
from entrypoint.run.reward_head import load_with_new_head
from entrypoint.run.targets import HEAD
from schemas.job import TrainJob
from schemas.method import Reward


class JudgeTrainer(RewardTrainer):
    """TRL's, with the head in fp32: over a base in 4 bits TRL turns all that is trained to bf16, in which small updates get lost."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and f".{HEAD}." in f".{name}":
                parameter.data = parameter.data.float()


def reward(method: Reward, job: TrainJob, pad: int) -> Recipe:
    """TRL's RewardTrainer over the base with a new head, which is trained whole beside any adapter."""
    settings: dict[str, Any] = {
        "max_length": None,
        "disable_dropout": switch_off_dropout(job),
        "center_rewards_coefficient": method.center or None,
    }
    return Recipe(JudgeTrainer, RewardConfig, WholeCollator(pad), settings, load=load_with_new_head, peft={"task_type": "SEQ_CLS", "modules_to_save": [HEAD]})
