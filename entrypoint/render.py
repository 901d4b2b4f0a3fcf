"""Plans, states and findings as text for people; no decisions."""

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from entrypoint.plan.deepspeed import nested
from schemas.facts import IMAGES, Facts
from schemas.plan import Decision, Plan

LINE = "no impact above this line"
OTHERS = 38
"""Columns for what stands beside an artifact's path in a table."""

FIRST = ("speed", "time", "memory", "host memory")
"""Lines that a stage begins with."""

SUMS = ("memory", "host memory")
"""Lines whose terms are shown as a table, in GiB."""

BAR = 24
"""Columns of a bar that is all of a sum."""

NOT_ESTIMATED = "Compose's own; nothing was estimated, because the model is not known before fetch, or is no dense decoder. Ask again after fetch"


COLOURS = {
    **dict.fromkeys(("sealed", "ok", "current"), "green"),
    **dict.fromkeys(("stale", "started", "warn"), "yellow"),
    **dict.fromkeys(("damaged", "cannot", "fail", "refused"), "red"),
}
"""Of a state's word."""


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """The command line's business; rich would end the process with 1, the code of a step that failed."""
        raise BrokenPipeError


def console() -> Console:
    """Standard output; as wide as the terminal, 80 columns where there is none. Brackets are text: sources and paths hold them."""
    width = None if shutil.get_terminal_size((0, 0)).columns else 80
    return _Output(highlight=False, markup=False, emoji=False, width=width)


def show_plan(plan: Plan, facts: Facts) -> None:
    """Steps, then decisions with their reasons, then what cannot be planned yet."""
    out = console()
    out.print(Text(f"{plan.name} on {describe(facts)}", style="bold"))
    steps = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    steps.add_column(style="cyan", no_wrap=True)
    steps.add_column(overflow="fold")
    steps.add_column(no_wrap=True, style="dim")
    for step in plan.steps:
        steps.add_row(step.stage, step.title, step.id or "after " + _awaited(step.stage))
    out.print(steps)
    _show_decisions(plan.decisions, out)
    for at, line in enumerate(plan.waiting):
        out.print()
        out.print(Text(f"cannot: {line}", style="red"))
        for way in (plan.remedies[at] if at < len(plan.remedies) else "").split("; or "):
            if way:
                out.print(Padding(Text(way, style="dim"), (0, 0, 0, 4)))


def _show_decisions(decisions: tuple[Decision, ...], out: Console) -> None:
    """By stage, each under its name; how fast and how long first, since that is what most people look for."""
    for stage in dict.fromkeys(decision.stage for decision in decisions):
        out.print()
        if stage:
            out.print(Text(stage, style="bold cyan"))
        mine = [decision for decision in decisions if decision.stage == stage]
        for decision in sorted(mine, key=lambda one: FIRST.index(one.field) if one.field in FIRST else len(FIRST)):
            _show_decision(decision, out, "  " if stage else "")


def _show_decision(decision: Decision, out: Console, indent: str) -> None:
    """On one line where it fits; else the reason below: beside the value it would have twenty characters left at 80. A sum with its terms is a table."""
    head = Text.assemble(indent, (decision.field, "cyan"), "  ", (decision.value, "bold"))
    if decision.field in SUMS and decision.parts:
        out.print(head)
        _show_parts(decision, out, indent)
        return
    reason = Text(decision.why + (f" [{decision.source}]" if decision.source else ""), style="dim")
    if head.cell_len + 2 + reason.cell_len <= out.width:
        out.print(Text.assemble(head, "  ", reason))
    else:
        out.print(head)
        out.print(Padding(reason, (0, 0, 0, 4 + len(indent))))


def _show_parts(decision: Decision, out: Console, indent: str) -> None:
    """A line a term: what, how much, its share, and that as a bar."""
    total = sum(decision.parts.values()) or 1.0
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(no_wrap=True, style="cyan")
    for name, size in decision.parts.items():
        table.add_row(name, f"{size:.2f} GiB", f"{size / total:.0%}", "#" * round(BAR * size / total))
    out.print(Padding(table, (0, 0, 0, 4 + len(indent))))
    if decision.source:
        out.print(Padding(Text(decision.source, style="dim"), (0, 0, 0, 4 + len(indent))))


def show_engine(plan: Plan, as_json: bool) -> None:
    """What the training engine is told: as JSON with a comment above each value, or as JSON alone with the reasons beside it."""
    if as_json:
        print(json.dumps({"settings": nested(plan.engine), "why": {s.path: s.why for s in plan.engine}}, indent=2))
        return
    if not plan.engine and not any(step.stage == "train" for step in plan.steps):
        refused = next((line for line in plan.waiting if line.startswith("train: ")), "train: not planned")
        console().print(Text(f"{{}}  // cannot: {refused}"))
        return
    if not plan.engine:
        console().print(Text("{}  // no engine: plain torch, in one process or in DDP"))
        return
    reasons = {setting.path: setting.why for setting in plan.engine}
    for line in _commented(nested(plan.engine), reasons, ""):
        console().print(line)


def _commented(settings: dict[str, Any], reasons: dict[str, str], before: str) -> Iterator[Text]:
    """The lines of a JSON object."""
    indent = "  " * (before.count(".") + 1)
    yield Text("{") if not before else Text(f"{indent[2:]}{json.dumps(before.split('.')[-2])}: {{")
    for index, (key, value) in enumerate(settings.items(), 1):
        comma = "," if index < len(settings) else ""
        if isinstance(value, dict):
            *inner, last = _commented(value, reasons, f"{before}{key}.")
            yield from inner
            yield Text(f"{last.plain}{comma}")
            continue
        for line in textwrap.wrap(reasons[before + key], 76 - len(indent)):
            yield Text(f"{indent}// {line}", style="dim")
        yield Text(f"{indent}{json.dumps(key)}: {json.dumps(value)}{comma}")
    yield Text(f"{indent[2:]}}}")


def show_env(plan: Plan, facts: Facts, as_json: bool) -> None:
    """What Compose has to be told: it reads no plan."""
    told: dict[str, str] = {"ACCELERATOR": facts.device if facts.device in IMAGES else "cpu"}
    for step in plan.steps:
        if step.stage == "train":
            told["TRAIN_GRACE"] = f"{step.stop_seconds}s"
    if as_json:
        print(json.dumps(told, indent=2))
        return
    if "TRAIN_GRACE" in told:
        found = next((decision for decision in plan.decisions if decision.field == "train stop"), None)
        longer = found and found.value != f"{told['TRAIN_GRACE'].removesuffix('s')} s"
        estimated = f"{found.value}: {found.why}{'; Compose waits longer by itself' if longer else ''}" if found else NOT_ESTIMATED
        print("\n".join(textwrap.wrap(f"TRAIN_GRACE: {estimated}", 80, initial_indent="# ", subsequent_indent="# ")))
    print("\n".join(f"{key}={value}" for key, value in told.items()))


def show_line() -> None:
    """The mark between what only reads and what changes things."""
    console().rule(LINE, style="dim")


def describe(facts: Facts) -> str:
    """One line about a machine."""
    if facts.accelerators:
        kinds = Counter(f"{one.name} ({one.memory_gib:.0f} GiB)" for one in facts.accelerators)
        return f"{', '.join(f'{count} x {kind}' for kind, count in kinds.items())}, {facts.cpu_cores} cores, {facts.ram_gib:.0f} GiB RAM"
    return f"CPU, {facts.cpu_cores} cores, {facts.ram_gib:.1f} GiB RAM, {facts.disk_free_gib:.0f} GiB disk free"


def show_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A plain table; a row's second cell is a state, coloured by its word."""
    table, out = Table(box=None, padding=(0, 2, 0, 0), header_style="dim"), console()
    for at, heading in enumerate(headings):
        # A path is copied from here: in one piece, where that leaves the other columns some room.
        whole = heading == "artifact" and all(len(row[at]) <= out.width - OTHERS for row in rows)
        table.add_column(heading, overflow="fold", no_wrap=whole)
    for row in rows:
        style = COLOURS.get(row[1], "") if len(row) > 1 else ""
        table.add_row(row[0], Text(row[1], style=style), *row[2:])
    out.print(table)


def _awaited(stage: str) -> str:
    if stage == "answers":
        return "prepare"
    order = ("fetch", "prepare", "train", "export", "serve")
    stage = "serve" if stage == "evaluate" else stage  # both wait for export
    return order[order.index(stage) - 1]
