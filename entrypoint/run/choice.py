"""Which rows are taken, how often, and into which split: by their content and the seed alone, so that neither order nor other rows matter."""

from collections.abc import Iterable

import numpy as np

from entrypoint.run.digests import CHOICE, CONTENT, SPLIT, WEIGHT, DigestSet, digest, keys_of, share_of
from entrypoint.run.rejection import Rejected
from entrypoint.run.rows import Row
from entrypoint.run.tally import Source, Tally
from schemas.job import PrepareJob

GOLDEN_ROWS = 6
"""Validation rows that are kept as candidates for golden prompts: those of the smallest digests."""

EXAMPLES = 5
SPLITS = ("train", "validation")


class Chooser:
    """Knows every content so far in 16 bytes; `keys` are those of a run that is gone on with."""

    def __init__(self, job: PrepareJob, tally: Tally, keys: dict[str, np.ndarray] | None = None):
        self.job, self.tally = job, tally
        self.seen = {split: DigestSet() for split in SPLITS}
        for split, held in (keys or {}).items():
            self.seen[split].add(held)
        self.fresh: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
        """Contents that came in since the last part was sealed."""

    def choose(self, rows: list[Row], split: str | None, source: Source) -> list[tuple[Row, str, int]]:
        """The rows that are taken, each with its split and how often it is written. `split` None: into both."""
        taken = [(row, mark) for row in rows if self._is_taken(mark := digest(row, self.job.seed), source)]
        sides = [split or ("validation" if share_of(mark[SPLIT]) < self.job.validation_share else "train") for _, mark in taken]
        known = self._known([mark for _, mark in taken], sides)
        chosen = []
        for (row, mark), side, (twice, leaks) in zip(taken, sides, known, strict=True):
            if leaks:  # the measure stays honest, and validation is what the user named to be held out
                self.tally.leaked += 1
                _note(self.tally.leaked_rows, row.where)
                continue
            if twice:
                self.tally.duplicates += 1
                _note(self.tally.duplicate_rows, row.where)
                if self.job.deduplicate:
                    continue
            self.tally.count_extra(row.extra)
            if side == "validation":
                self._remember_golden(mark, row)
            chosen.append((row, side, self._copies(mark, source) if side == "train" else 1))
        return chosen

    def take_fresh(self) -> dict[str, np.ndarray]:
        """The contents that came in since this was last asked, uint64 of shape (rows, 2), by split."""
        keys = {split: np.concatenate(lists) if lists else np.empty((0, 2), dtype=np.uint64) for split, lists in self.fresh.items()}
        self.fresh = {split: [] for split in SPLITS}
        return keys

    def _is_taken(self, mark: bytes, source: Source) -> bool:
        """By weight and max_rows; a row that is not taken is in neither split."""
        over = source.threshold is not None and (mark[CHOICE].hex() > source.threshold or source.taken >= (source.max_rows or 0))
        if over or (source.weight < 1 and share_of(mark[WEIGHT]) >= source.weight):
            source.left_out += 1
            return False
        source.taken += 1
        return True

    def _copies(self, mark: bytes, source: Source) -> int:
        """The whole part of the weight, and once more for that share of the rows which the rest names."""
        if source.weight <= 1:
            return 1
        whole, rest = divmod(source.weight, 1)
        copies = int(whole) + (share_of(mark[WEIGHT]) < rest)
        source.repeated += copies - 1
        return copies

    def _known(self, marks: list[bytes], sides: list[str]) -> list[tuple[bool, bool]]:
        """For each row whether its content came before in its split, and whether it is a training row that validation has."""
        if not marks:
            return []
        keys = keys_of(marks)
        before = {split: self.seen[split].contains(keys) for split in SPLITS}
        found = []
        now: dict[str, dict[bytes, int]] = {split: {} for split in SPLITS}
        for at, (mark, side) in enumerate(zip(marks, sides, strict=True)):
            content = mark[CONTENT]
            twice = bool(before[side][at]) or content in now[side]
            found.append((twice, side == "train" and bool(before["validation"][at])))
            if not twice:
                now[side][content] = at
        for side, contents in now.items():
            added = keys[list(contents.values())]
            self.seen[side].add(added)
            if len(added):
                self.fresh[side].append(added)
        return found

    def _remember_golden(self, mark: bytes, row: Row) -> None:
        kept = self.tally.golden
        if len(kept) == GOLDEN_ROWS and mark.hex() >= kept[-1][0]:
            return
        kept.append([mark.hex(), list(row.messages), list(row.tools)])
        kept.sort(key=lambda entry: entry[0])
        del kept[GOLDEN_ROWS:]


def _note(places: list[str], where: str) -> None:
    if len(places) < EXAMPLES:
        places.append(where)


def find_threshold(rows: Iterable[Row | Rejected], kind: str, seed: int, wanted: int) -> str | None:
    """The mark up to which rows are taken so that about `wanted` are: those of the smallest marks. None where there are no more than that.

    Holds twice `wanted` numbers, however many rows there are.
    """
    smallest = np.empty(0, dtype=np.int64)
    held: list[int] = []
    count = 0
    for row in rows:
        if isinstance(row, Rejected) or row.kind != kind:
            continue
        count += 1
        held.append(int.from_bytes(digest(row, seed)[CHOICE], "big"))
        if len(held) >= max(wanted, 4096):
            smallest, held = _smallest(smallest, held, wanted), []
    smallest = _smallest(smallest, held, wanted)
    return f"{int(smallest.max()):010x}" if count > wanted else None


def _smallest(kept: np.ndarray, more: list[int], wanted: int) -> np.ndarray:
    every = np.concatenate([kept, np.array(more, dtype=np.int64)])
    return np.partition(every, wanted - 1)[:wanted] if len(every) > wanted else every
