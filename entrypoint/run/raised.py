"""More rows at once than planned, where memory was measured and has room for them."""

from schemas.expected import Raising

ENOUGH = 5
"""Steps before memory is judged: by then the optimizer has its state, and some batches are past."""


def rows_that_fit(raising: Raising, peak: int, held: int, seen: int, longest: int) -> int | None:
    """The most rows at once that fit, counted upwards from what was measured; None where none of them do.

    `peak`: bytes so far; `held`: bytes between two steps, which stay as they are; `seen`: tokens of the largest batch so far; `longest`: of the longest row that there
    is. All that comes and goes grows with tokens at once, at most: the sizes are judged as if they were filled with the longest row.
    """
    if seen <= 0:
        return None
    fitting = [rows for rows in raising.sizes if held + (peak - held) * max(1.0, rows * longest / seen) <= raising.room_bytes]
    return max(fitting, default=None)
