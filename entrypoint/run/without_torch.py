"""transformers for its tokenizers alone: torch takes 260 MiB and three seconds, and computes nothing where rows are prepared."""

import logging
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from entrypoint.run.loadable import check_model
from entrypoint.run.memory_kills import ended_by_memory, memory_kills
from schemas.errors import GateRefused


def check_model_apart(folder: Path) -> None:
    """check_model, which needs torch, in a process of its own, while this one imports transformers without it. Raises what check_model does.

    A process that has torch already looks for itself, and keeps it.
    """
    if "torch" in sys.modules:
        check_model(folder)
        return
    kills = memory_kills()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(_refusal, folder)
        _import_without_torch()
        try:
            refusal = found.result()
        except BrokenProcessPool:
            raise ended_by_memory("the look at the model", kills) from None
    if refusal:
        raise GateRefused(*refusal)


def _refusal(folder: Path) -> tuple[str, str | None] | None:
    """In the other process: an error's parts, which a pickled error would lose."""
    try:
        check_model(folder)
    except GateRefused as refused:
        return refused.what, refused.fix
    return None


def _import_without_torch() -> None:
    """As where there is none. Later it can be imported all the same, which a preprocessor may do."""

    def nothing(_: logging.LogRecord) -> bool:
        return False

    library = logging.getLogger("transformers")
    library.addFilter(nothing)  # it says that there will be no models
    sys.modules["torch"] = None  # type: ignore[assignment]  # Python's own sign for: not to be found
    try:
        import transformers

        transformers.is_torch_available()  # which it remembers
    finally:
        del sys.modules["torch"]
        library.removeFilter(nothing)
