"""What a file is by its content, where that is something a model's loader must not be given. Opens no pickle: it reads opcodes."""

import pickletools
import struct
import warnings
import zipfile
from itertools import islice
from pathlib import Path

LOOKED_AT = 2**16
"""Bytes of a file in which a pickle without a mark of its own must have named what it runs."""

OPCODES = 20_000
RUNS = {"GLOBAL", "INST", "STACK_GLOBAL", "REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
"""Opcodes that import something or call it (pickletools)."""


def sniff(path: Path) -> str:
    """In words, where a file is a pickle, an archive or a pointer to another file; empty otherwise.

    Pickles of protocol 2 and later begin with 0x80 and the version; older ones have no mark and are told by their opcodes.
    """
    with path.open("rb") as stream:
        start = stream.read(LOOKED_AT)
    if len(start) > 2 and start[0] == 0x80 and 2 <= start[1] <= 5:
        return "a pickle"
    if start.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                inside = archive.namelist()
        except (zipfile.BadZipFile, NotImplementedError, UnicodeError, OSError, ValueError):
            return "a damaged zip archive"
        return "a zip archive with a pickle (data.pkl)" if any(n.endswith(".pkl") for n in inside) else "a zip archive"
    if start.startswith(b"version "):
        return "a Git LFS pointer, not the file itself"
    return "a pickle" if _runs_something(start) else ""


def _runs_something(start: bytes) -> bool:
    """Whether these bytes, read as a pickle, come to an opcode that imports or calls before anything that is no opcode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in what is no string
        return _comes_to_a_call(start)


def _comes_to_a_call(start: bytes) -> bool:
    imported = False
    try:
        for opcode, argument, _ in islice(pickletools.genops(start), OPCODES):
            if opcode.name in ("GLOBAL", "INST"):
                imported = all(part.replace("_", "a").replace(".", "a").isalnum() for part in str(argument).split(" ", 1))
            elif opcode.name in RUNS:
                imported = imported or opcode.name == "STACK_GLOBAL"
            if imported and opcode.name in ("REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "STACK_GLOBAL", "STOP"):
                return True
    except (ValueError, LookupError, ArithmeticError, struct.error):  # what pickletools meets in bytes that are no pickle
        return False
    return False
