"""A trainer: the method's own loss, and a penalty on weights that grow."""


class Penalty:
    """Stands before the method's trainer, whichever that is; what super() gives is that trainer's. Options become attributes."""

    strength: float = 1e-3

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        found = super().compute_loss(model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)
        if not self.model.training:  # a validation judges the method's loss alone
            return found
        squares = sum(parameter.square().sum() for parameter in model.parameters() if parameter.requires_grad)
        # Where a count of the step's tokens is given, losses of micro-batches are added up: each brings its share. Else their mean is taken.
        parts = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
        share = self.strength * squares / parts
        return (found[0] + share, found[1]) if return_outputs else found + share
