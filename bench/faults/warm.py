"""Processes forked from an interpreter that has imported torch and transformers already, instead of new ones that take seconds to import them.

`Forked` is Popen for commands of this interpreter: the child does what a new one would, from the same arguments, environment and folder,
with random generators seeded anew. It forks its own children the same way. Everything else is started as always.
"""

import atexit
import contextlib
import ctypes
import importlib
import os
import random
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

IMPORTED = (
    "torch", "torch._dynamo", "torch.distributed.launcher.api", "torch.distributed.elastic.multiprocessing", "torch.utils.tensorboard", "numpy",
    "accelerate", "peft", "transformers.trainer", "transformers.models.llama.modeling_llama", "transformers.models.auto.modeling_auto",
)  # fmt: skip
CAISSON = ("trl.trainer.sft_trainer",)
"""Only where the column imports it."""
NEW = subprocess.Popen
"""The real one."""

NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2
"""Of prctl."""


def import_all(column: str) -> None:
    """Once, before the first fork. No module of the programs under test is among them."""
    subprocess.Popen = Forked  # type: ignore[misc]  # first: torchrun keeps the name that it imports; children fork their own children
    for name in IMPORTED + (CAISSON if column == "caisson" else ()):
        importlib.import_module(name)
    assert threading.active_count() == 1, "a thread does not survive a fork"


class Forked(NEW):
    """Popen that forks where it would start this interpreter, also below the injector."""

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any, startupinfo: Any, creationflags: Any,
        shell: Any, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int, restore_signals: Any, gid: Any, gids: Any,
        uid: Any, umask: Any, start_new_session: bool, process_group: Any,
    ) -> None:  # fmt: skip
        command = [os.fspath(a) for a in args]
        injector, python = command[: command.index("--")] if "--" in command else [], command[command.index("--") + 1 :] if "--" in command else command
        if python[0] != sys.executable or python[1] == "-c":
            return super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite,
                errread, errwrite, restore_signals, gid, gids, uid, umask, start_new_session, process_group,
            )  # type: ignore[misc]  # fmt: skip
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(injector, python[1:], cwd, env, {0: p2cread, 1: c2pwrite, 2: errwrite}, start_new_session)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def _become(injector: list[str], arguments: list[str], cwd: Any, env: Any, streams: dict[int, int], new_session: bool) -> NoReturn:
    """In the child: the injector over a second child, or the program itself. Never returns into the code that forked."""
    try:
        if new_session:
            os.setsid()
        os.chdir(cwd or ".")
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        for number, given in streams.items():
            if given != -1:
                os.dup2(given, number)
        if injector:
            _trace(injector)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        code = _run(arguments)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _trace(injector: list[str]) -> None:
    """This process becomes the injector; its child, which returns from here, is what it traces."""
    given = subprocess.run([injector[0], "--filter"], stdout=subprocess.PIPE, check=True).stdout
    ready, go = os.pipe()
    os.set_inheritable(go, True)
    child = os.fork()
    if child:
        os.execv(injector[0], [*injector, "--attach", str(child), "--ready", str(go)])
    os.close(go)
    if os.read(ready, 1) != b"\0":
        os._exit(1)
    os.close(ready)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(given) // 8, given)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SET_SECCOMP, FILTER, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "seccomp")


def _run(arguments: list[str]) -> int:
    """What `python ARGUMENTS` does, to its exit code."""
    import numpy
    import torch

    random.seed()
    numpy.random.seed()
    torch.seed()
    options = [i for i, a in enumerate(arguments) if a not in ("-u",)]
    arguments = arguments[options[0] :]
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            sys.path[0] = str(Path.cwd())
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            sys.path[0] = str(Path(arguments[0]).absolute().parent)
            runpy.run_path(arguments[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    return code
