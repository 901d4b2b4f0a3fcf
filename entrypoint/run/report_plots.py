"""Small plots of a report as inline SVG. Colours are the page's, so that they hold in light and dark."""

import math
from collections.abc import Sequence

from entrypoint.run.markup import Markup, tag
from entrypoint.run.report_words import direction
from schemas.evaluation import Load, Score

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 440, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 40
"""Room for the labels of the axes."""

FEW = 6
"""Places along the lower axis that are written there one by one."""

SPAN = (150, 22)
"""Pixels of the plot of one difference."""


def losses(training: Points, validation: Points) -> Markup | None:
    """Training and validation loss by step; None where there is no curve."""
    if len(training) + len(validation) < 2:
        return None
    return lines([("train", training), ("held", validation)], "step", from_zero=False)


def lines(series: Sequence[tuple[str, Points]], along: str, *, from_zero: bool) -> Markup:
    """Lines over one pair of axes; a series is the class of its line and its points. A single point is a dot."""
    every = [point for _, points in series for point in points]
    (low_x, high_x), (low_y, high_y) = _range([x for x, _ in every]), _range([y for _, y in every])
    low_y = 0.0 if from_zero else low_y
    at = _Axes(low_x, high_x, low_y, high_y)
    places = sorted({x for x, _ in every})
    pieces = [*at.frame(along, places if len(places) <= FEW else ())]
    for kind, points in series:
        if len(points) > 1:
            pieces.append(tag("polyline", class_=kind, points=" ".join(f"{at.x(x):.1f},{at.y(y):.1f}" for x, y in points)))
        if 0 < len(points) < 30:
            pieces += [
                tag("circle", class_=f"dot {'same' if kind == 'train' else ''}".strip(), cx=f"{at.x(x):.1f}", cy=f"{at.y(y):.1f}", r=3) for x, y in points
            ]
    return tag("svg", pieces_of(pieces), viewBox=f"0 0 {WIDTH} {HEIGHT}", width=WIDTH, height=HEIGHT, role="img", aria_label=f"by {along}")


def pieces_of(pieces: Sequence[Markup]) -> Markup:
    """Several as one."""
    return Markup("".join(pieces))


class _Axes:
    """Numbers -> pixels."""

    def __init__(self, low_x: float, high_x: float, low_y: float, high_y: float):
        self.low_x, self.high_x, self.low_y, self.high_y = low_x, high_x, low_y, high_y

    def x(self, value: float) -> float:
        return LEFT + (value - self.low_x) / (self.high_x - self.low_x) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low_y) / (self.high_y - self.low_y) * (HEIGHT - TOP - BOTTOM)

    def frame(self, along: str, marks: Sequence[float]) -> list[Markup]:
        found = []
        for value in ticks(self.low_y, self.high_y):
            y = f"{self.y(value):.1f}"
            found += [
                tag("line", class_="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y),
                tag("text", f"{value:.4g}", x=LEFT - 6, y=f"{self.y(value) + 4:.1f}", text_anchor="end"),
            ]
        for value in marks or ticks(self.low_x, self.high_x):
            found.append(tag("text", f"{value:.6g}", x=f"{self.x(value):.1f}", y=HEIGHT - BOTTOM + 14, text_anchor="middle"))
        found.append(tag("text", along, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, text_anchor="middle"))
        return found


def span(score: Score, reach: float) -> Markup | None:
    """The interval of a difference around 0; `reach` is what the plot shows on either side."""
    found = score.difference
    if found is None or reach <= 0:
        return None
    width, height = SPAN
    middle = height / 2

    def x(value: float) -> float:
        return width / 2 + max(-1.0, min(1.0, value / reach)) * (width / 2 - 6)

    kind = direction(score)
    low, high = (end if end is not None else found.value for end in (found.low, found.high))
    return tag(
        "svg",
        tag("line", class_="zero", x1=width / 2, x2=width / 2, y1=1, y2=height - 1),
        tag("line", class_=f"span {kind}", x1=f"{x(low):.1f}", x2=f"{x(high):.1f}", y1=middle, y2=middle),
        tag("circle", class_=f"dot {kind}", cx=f"{x(found.value):.1f}", cy=middle, r=4),
        viewBox=f"0 0 {width} {height}", width=width, height=height, role="img", aria_label=f"{kind} than the base" if kind != "same" else "no clear difference",
    )  # fmt: skip


def reach_of(scores: Sequence[Score]) -> float:
    """What the plots of shares have to show on either side, so that they can be compared with each other."""
    ends = [abs(end) for score in scores if score.share and score.difference for end in (score.difference.low, score.difference.high) if end is not None]
    return max(ends, default=0.0)


def throughput(loads: Sequence[Load]) -> Markup:
    """Tokens a second by requests at once."""
    return lines([("held", [(load.concurrency, load.tokens_per_second) for load in loads])], "requests at once", from_zero=True)


def first_token(loads: Sequence[Load]) -> Markup | None:
    """Seconds to the first token by requests at once: half of the requests, and all but one in twenty."""
    half, most = ([(load.concurrency, load.first_token_seconds[at]) for load in loads if at in load.first_token_seconds] for at in ("p50", "p95"))
    return lines([("train", half), ("held", most)], "requests at once", from_zero=True) if half or most else None


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two, some five of them."""
    step = 10.0 ** math.floor(math.log10((high - low) / about))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= about)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Ends that lie apart."""
    low, high = min(values), max(values)
    return (low, high) if high - low > 1e-9 * max(1.0, abs(high)) else (low - 0.5, high + 0.5)
