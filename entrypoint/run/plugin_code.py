"""A user's own code, loaded from what was fetched, and words for what goes wrong in it."""

import importlib
import inspect
import linecache
import sys
import traceback
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from entrypoint.run.code_files import find_code
from entrypoint.run.leaf import is_disk_full
from schemas.contract import FUNCTIONS, right_signature
from schemas.errors import CaissonError, MachineError, StepFailed
from schemas.job import PluginJob
from schemas.plugins import PluginKind, is_file


class PluginCode:
    """The plug-ins of one stage: those that its job names, and no other."""

    def __init__(self, jobs: Mapping[PluginKind, PluginJob], folder: Path | None):
        self.jobs, self.folder = jobs, folder
        self.modules: dict[str, types.ModuleType] = {}
        self.files: dict[str, str] = {}
        """Source by the name of its file in a traceback."""

    def get(self, kind: PluginKind) -> Any:
        """The function or class; None where the job names none. Loaded at the first call, inside `words`."""
        job = self.jobs.get(kind)
        return self._as_told(kind, getattr(self._module(job), job.name, None)) if job else None

    def _as_told(self, kind: PluginKind, found: Any) -> Any:
        """What the file made of it when it ran: a decorator or a line below may have put something else in the place of what the plan has read."""
        if found is None:
            self.wrong(kind, "is not there any more when its file has run", "define it once, at the top of the file")
        if kind not in FUNCTIONS:
            if not isinstance(found, type):
                self.wrong(kind, f"is {type(found).__name__} when its file has run, a {kind} is a class", f"write {right_signature(kind)}, without a decorator")
            return found
        try:
            inspect.signature(found, follow_wrapped=False).bind(*FUNCTIONS[kind], **self.options(kind))
        except TypeError as error:
            self.wrong(kind, f"cannot be called as its text says when its file has run: {error}", f"write {right_signature(kind)}; a decorator must keep that")
        except ValueError:  # of a callable that is compiled nobody knows
            pass
        return found

    def options(self, kind: PluginKind) -> dict[str, Any]:
        """Its keyword arguments."""
        return self.jobs[kind].options

    def wrong(self, kind: PluginKind, what: str, fix: str) -> NoReturn:
        """Raise StepFailed: a plug-in gave what it may not give."""
        job = self.jobs[kind]
        raise StepFailed(f"plugins.{kind}: {job.source}:{job.name} {what}", fix)

    @contextmanager
    def words(self) -> Iterator[None]:
        """Around all that may call a plug-in: what it raises is said with its own traceback, file and line. Other errors go on as they are."""
        try:
            yield
        except CaissonError:
            raise
        except (Exception, SystemExit) as error:
            place = self._place(error)
            if place is None or is_disk_full(error):
                raise
            source, tail, line = place
            kinds = [kind for kind, job in self.jobs.items() if job.source == source]
            print("".join(traceback.format_exception(type(error), error, tail, chain=False)), file=sys.stderr, flush=True)
            said = " ".join(str(error).split())
            raise StepFailed(
                f"plugins.{' and '.join(kinds)}: {source}:{line}: {type(error).__name__}{f': {said[:200]}' if said else ''}",
                "mend the plug-in, run fetch and then the same command again; its traceback is above",
            ) from None

    def _place(self, error: BaseException) -> tuple[str, types.TracebackType, int] | None:
        """The source in whose code an error came up, its traceback from its own first frame on, and its last line there."""
        tail, source, line = None, None, 0
        here = error.__traceback__
        while here is not None:
            if owner := self.files.get(here.tb_frame.f_code.co_filename):
                tail, source, line = tail or here, owner, here.tb_lineno
            here = here.tb_next
        return (source, tail, line) if tail is not None and source is not None else None

    def _module(self, job: PluginJob) -> types.ModuleType:
        if job.source not in self.modules:
            assert self.folder is not None
            content = (self.folder / job.file).read_bytes()
            load = _run_file if is_file(job.source) else _import
            self.files[_shown(job.source)] = job.source
            self.modules[job.source] = load(job, content)
        return self.modules[job.source]


def _shown(source: str) -> str:
    """The name of the file in a traceback."""
    return source if is_file(source) else str(find_code(source))


def _run_file(job: PluginJob, content: bytes) -> types.ModuleType:
    """The fetched copy, under the name that the user knows it by."""
    module = types.ModuleType(f"caisson_plugin_{Path(job.source).stem}")
    module.__file__ = job.source
    text = content.decode("utf-8", "replace")
    linecache.cache[job.source] = (len(text), None, text.splitlines(keepends=True), job.source)  # a traceback shows lines of a file that may be out of sight
    sys.modules[module.__name__] = module  # dataclasses look there
    exec(compile(content, job.source, "exec"), module.__dict__)
    return module


def _import(job: PluginJob, content: bytes) -> types.ModuleType:
    """An installed module, where it is what was fetched."""
    path = find_code(job.source)
    if path is None or path.read_bytes() != content:
        what = "is not installed here" if path is None else "is not the one that was fetched"
        raise MachineError(f"plugins: the module {job.source} {what}", "run fetch again with the image that trains")
    return importlib.import_module(job.source)
