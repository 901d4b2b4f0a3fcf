"""Which of a data set's files hold one part of a benchmark: data sets are laid out in four or five ways, whatever hub they come from."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

SHARD = r"(-\d{5}-of-\d{5})?"


def files_of(files: Sequence[str], subset: str, split: str, *, alone: bool) -> list[str]:
    """The files of a subset's split, of paths below the data set's folder; `alone`: the benchmark has no other subset, and need not be named.

    The first form that something has: SUBSET/SPLIT, SUBSET_SPLIT or SPLIT/SUBSET_SPLIT, SPLIT/SUBSET, SPLIT alone, SUBSET alone; SPLIT-00000-of-00002 is SPLIT.
    """
    forms = [rf"(.*/)?{re.escape(subset)}/{split}{SHARD}", rf"(.*/)?{re.escape(subset)}[_-]{split}{SHARD}", rf"(.*/)?{split}/{re.escape(subset)}"]
    forms += [rf"([^/]*/)?{split}{SHARD}"] if alone else []
    forms += [rf"(.*/)?{re.escape(subset)}"]
    for form in forms:
        if found := [file for file in files if re.fullmatch(form, _bare(file))]:
            return sorted(found)
    return []


def _bare(file: str) -> str:
    """Without its endings."""
    path = PurePosixPath(file)
    return str(path.parent / path.name.split(".")[0])
