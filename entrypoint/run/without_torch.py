"""transformers for its tokenizers alone: torch takes 260 MiB and three seconds, and computes nothing where rows are prepared."""

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

from entrypoint.run.loadable import check_model
from entrypoint.run.memory_kills import ended_by_memory, memory_kills
from entrypoint.run.quiet import hush
from schemas.errors import GateRefused, StepFailed

LOOK = "import sys; from entrypoint.run.without_torch import print_refusal; print_refusal(sys.argv[1])"


def check_model_apart(folder: Path) -> None:
    """check_model, which needs torch, in a process of its own, while this one imports transformers without it. Raises what check_model does.

    A process that has torch already looks for itself, and keeps it. The other ends by itself within seconds, whatever becomes of this one: a pool's
    worker would wait for ever for a parent that was killed, and keep its output open.
    """
    if "torch" in sys.modules:
        check_model(folder)
        return
    kills = memory_kills()
    with subprocess.Popen((sys.executable, "-c", LOOK, str(folder)), stdout=subprocess.PIPE) as process:
        _import_without_torch()
        said, _ = process.communicate()
    if process.returncode == -signal.SIGKILL:
        raise ended_by_memory("the look at the model", kills)
    if process.returncode:
        raise StepFailed(f"the look at the model ended with exit code {process.returncode}", "its output is above; the same command tries again")
    if said:
        raise GateRefused(**json.loads(said.splitlines()[-1]))


def print_refusal(folder: str) -> None:
    """In the other process: why the model cannot be loaded, as JSON; nothing where it can."""
    hush()
    try:
        check_model(Path(folder))
    except GateRefused as refused:
        print(json.dumps({"what": refused.what, "fix": refused.fix}))


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
