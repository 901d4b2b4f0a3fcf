"""When a stop is heard: what the last step decided is what the end of the epoch does."""

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from entrypoint.run.pace import Pace

pytestmark = pytest.mark.image


class Quiet:
    """A watchdog and a saver that have nothing to say."""

    busy = False

    def step(self):
        pass

    def check(self):
        pass


def epoch_of_one_step(signal_at):
    """The control after the ends of a step and of its epoch, and the trainer, for a signal that comes before or after the former."""
    trainer = SimpleNamespace(
        watchdog=Quiet(), saver=Quiet(), stop_asked=signal_at == "before", validation_due=False, checkpoint_seconds=None, checkpoint_apart=None,
        order=SimpleNamespace(advance=lambda: True, epoch=1, start=0, rows=4),
    )  # fmt: skip
    state = SimpleNamespace(global_step=3, max_steps=24, epoch=0.0)
    control = SimpleNamespace(should_save=False, should_evaluate=False, should_training_stop=False)
    pace = Pace(trainer)
    pace.on_step_end(None, state, control)
    trainer.stop_asked = True
    control.should_evaluate = True  # as each epoch's end is validated
    pace.on_epoch_end(None, state, control)
    return control, trainer


def test_a_stop_that_its_last_step_heard_puts_the_validation_off():
    control, trainer = epoch_of_one_step("before")
    assert control.should_training_stop and control.should_save and not control.should_evaluate
    assert trainer.validation_due


def test_a_signal_between_the_ends_of_step_and_epoch_loses_no_validation():
    control, trainer = epoch_of_one_step("after")
    assert control.should_evaluate and not control.should_training_stop
    assert not trainer.validation_due and trainer.stop_asked
