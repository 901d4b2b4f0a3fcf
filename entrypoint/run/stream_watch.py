"""Looks after the process that prepares rows: at each step, and while rows are waited for."""

from typing import Any

from transformers import TrainerCallback

from entrypoint.run.ranks import ranks
from entrypoint.run.row_stream import RowStream
from schemas.errors import Interrupted


class StreamWatch(TrainerCallback):  # type: ignore[misc]
    """Ends the training where rows behind it are refused or cannot be prepared. Of several ranks the first has the process, the others None."""

    def __init__(self, trainer: Any, stream: RowStream | None):
        self.trainer, self.stream = trainer, stream

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.stream:
            self.stream.check()

    def meanwhile(self) -> None:
        """While a rank waits for rows: that is no hang, and a stop is heard."""
        self.trainer.watchdog.rest()
        if self.trainer.stop_asked:
            # All rows of a step are drawn before any is computed: this is still the end of the step before. One of several processes may have its rows already
            # and would not come to a save of all.
            if ranks() == 1:
                self.trainer.seal_here()
            raise Interrupted(
                f"train was stopped at step {self.trainer.state.global_step} while it waited for rows",
                "run the same command again: it goes on from the last checkpoint",
            )
        if self.stream:
            self.stream.check()
