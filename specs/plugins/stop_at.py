"""A callback: training ends once the smoothed loss is low enough."""


class StopAt:
    """Every process has one and sees the same losses. What state_dict gives lies in each checkpoint, so that a run that was killed goes on with it."""

    def __init__(self, loss: float, smoothing: float = 0.9):
        self.loss, self.smoothing = loss, smoothing
        self.smoothed = None

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" not in logs:
            return
        before = logs["loss"] if self.smoothed is None else self.smoothed
        self.smoothed = self.smoothing * before + (1 - self.smoothing) * logs["loss"]
        if self.smoothed < self.loss:
            control.should_training_stop = True

    def state_dict(self):
        return {"smoothed": self.smoothed}

    def load_state_dict(self, state):
        self.smoothed = state["smoothed"]
