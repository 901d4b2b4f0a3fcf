"""Best fit decreasing: the plan counts packs with it, training lays rows into them. Arithmetic on lengths alone."""

from bisect import bisect_left, insort
from collections.abc import Sequence


class Placed:
    """Runs of rows in falling length: so many rows go, `each` at a time, into the packs from number `packs` on."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.each: list[int] = []
        self.packs: list[int] = []
        self.count = 0
        """Packs in all."""


def place(lengths: Sequence[int], counts: Sequence[int], size: int) -> Placed:
    """Rows into packs of `size` tokens: longest first, each into the fullest pack that still has room for it.

    `lengths` fall and none is over `size`; `counts` says how many rows have each. Rows of one length are placed together: of packs with room
    r for rows of length l the fullest takes r // l at once, since after the first it is the fullest still. So the work grows with
    the number of different lengths, not with rows times packs. At most 11/9 of the best possible number of packs (Johnson 1973), in
    practice next to none more: bench/packing.
    """
    placed = Placed()
    room: dict[int, list[tuple[int, int]]] = {}
    """By the tokens that still fit: first number and count of packs in a row that have been filled alike."""

    levels: list[int] = []
    """The keys of `room`, ascending."""

    def put(left: int, start: int, count: int) -> None:
        if left and count:
            if left not in room:
                room[left] = []
                insort(levels, left)
            room[left].append((start, count))

    packs = 0
    for length, rows in zip(lengths, counts, strict=True):
        while rows:
            at = bisect_left(levels, length)
            if at < len(levels):
                left = levels[at]
                start, count = room[left].pop()
                if not room[left]:
                    del room[left], levels[at]
            else:
                left, start, count = size, packs, -(-rows // (size // length))
                packs += count
            each = left // length
            whole = min(count, rows // each)
            rest = rows - whole * each if whole < count else 0  # of these rows, in one more pack that they do not fill
            if whole:
                placed.rows.append(whole * each)
                placed.each.append(each)
                placed.packs.append(start)
                put(left - each * length, start, whole)
            if rest:
                placed.rows.append(rest)
                placed.each.append(rest)
                placed.packs.append(start + whole)
                put(left - rest * length, start + whole, 1)
            used = whole + bool(rest)
            put(left, start + used, count - used)
            rows -= whole * each + rest
    placed.count = packs
    return placed
