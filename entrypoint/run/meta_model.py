"""config.json -> the model that would be trained, on no device: names and shapes of everything, and not a byte of it."""

import copy
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from entrypoint.run.leaf import judging
from entrypoint.run.scan import CONFIG_BYTES
from schemas.architecture import AS_PUBLISHED, check_known
from schemas.errors import GateRefused, UsageError

SECONDS = 60
"""After which a config is taken for one that no model has: 80 layers take a fifth of a second."""


def read_config(folder: Path, shown: str) -> Any:
    """The configuration of a folder's config.json; runs no code that the folder brings. `shown` stands for the folder in texts.

    Raises UsageError for an architecture that transformers here does not have, GateRefused for one that it cannot read.
    """
    import transformers

    check_known(_read(folder, shown), shown, list(transformers.CONFIG_MAPPING), transformers.__version__)
    with judging(f"{shown}: transformers {transformers.__version__} cannot read config.json", AS_PUBLISHED):
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if _class_of(config) is None:
        raise GateRefused(f"{shown}: {config.model_type} is no language model: transformers has no class for it that answers with text", "use a language model")
    return config


def build(config: Any, shown: str) -> Any:
    """The model on the meta device, its shared weights shared. Raises GateRefused for sizes that no model can be built of."""
    import torch
    import transformers

    with judging(f"{shown}: transformers {transformers.__version__} cannot build it", AS_PUBLISHED), bounded(shown), torch.device("meta"):
        return make(config)


def make(config: Any, dtype: Any = None) -> Any:
    """The model of a configuration, which it keeps a copy of; where the caller's device is, and with no values in its weights."""
    from transformers.initialization import no_init_weights

    kind = _class_of(config)
    own = copy.deepcopy(config)
    with no_init_weights():
        model = kind.from_config(own, trust_remote_code=False, **({"dtype": dtype} if dtype is not None else {}))
    model.tie_weights()  # left out with the values
    return model


def _class_of(config: Any) -> Any:
    """The auto class that training loads by, else one that has all of the weights; None where there is none."""
    import transformers

    kinds = [transformers.AutoModelForCausalLM, transformers.AutoModelForImageTextToText, transformers.AutoModelForSeq2SeqLM]
    return next((kind for kind in kinds if type(config) in kind._model_mapping), None)


def _read(folder: Path, shown: str) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        if not path.is_file():  # nor a pipe, which may never end
            raise UsageError(f"{shown}: no config.json", "name a folder of a model")
        if path.stat().st_size > CONFIG_BYTES:
            raise UsageError(f"{shown}: config.json has {path.stat().st_size} bytes, a config has at most {CONFIG_BYTES}", AS_PUBLISHED)
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{shown}: config.json cannot be read: {error}", AS_PUBLISHED) from None
    if not isinstance(found, dict):
        raise UsageError(f"{shown}: config.json is no JSON object", AS_PUBLISHED)
    return found


@contextmanager
def bounded(shown: str) -> Iterator[None]:
    """Raise GateRefused where a config has so many layers that building them has no end in sight; in the main thread, which a leaf's work is."""

    def end(*_: object) -> None:
        raise GateRefused(f"{shown}: building the model took more than {SECONDS} s: no model has the sizes in its config.json", AS_PUBLISHED)

    before = signal.signal(signal.SIGALRM, end)
    # Again each second: Python drops what is raised while it runs a destructor, and the building would go on.
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
