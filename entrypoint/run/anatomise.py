"""config.json of a folder -> what the model is made of, and what its layers keep in training; weights are not looked at."""

import logging
from pathlib import Path
from typing import Any

from entrypoint.run.dissect import dissect
from entrypoint.run.kept import measure
from entrypoint.run.meta_model import bounded, build, make, read_config
from entrypoint.run.quiet import hush
from schemas.anatomy import Anatomy, Kept


def anatomise(folder: Path, shown: str) -> Anatomy:
    """Seconds for any size; `shown` stands for the folder in texts. Raises UsageError and GateRefused where no model can be built of it."""
    hush()
    config = read_config(folder, shown)
    found, places = dissect(build(config, shown))
    if config.is_encoder_decoder:
        return found
    kept = _kept(config, sorted(places.values()), shown)
    return found.model_copy(update={"layers": tuple(kind.model_copy(update={"kept": kept.get(places[kind], ())}) for kind in found.layers)})


def _kept(config: Any, chosen: list[int], shown: str) -> dict[int, tuple[Kept, ...]]:
    """What the chosen layers keep; nothing where an architecture's code cannot be run without values."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)  # a step that cannot be run is no error here
    try:
        with bounded(shown):
            return measure(lambda dtype: make(config, dtype), chosen)
    except Exception:
        return {}
    finally:
        log.setLevel(level)
