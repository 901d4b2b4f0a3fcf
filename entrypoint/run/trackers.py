"""The trackers of a spec."""

from pathlib import Path

from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback


def trackers(names: tuple[str, ...], output: Path) -> list[TrainerCallback]:
    """Each writes inside the artifact."""
    if "tensorboard" not in names:
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(str(output / "tensorboard")))]
