"""Libraries speak through our lines and events, not beside them; their errors still show."""

import logging
import warnings


def hush() -> None:
    """Call before the first use of a trainer."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in ("bitsandbytes", "torch.distributed", "torchao", "DeepSpeed", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
