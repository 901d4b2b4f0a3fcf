"""Plans, states and findings as text for people; no decisions."""

import shutil
import textwrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.facts import Facts
from schemas.plan import Plan

LINE = "no impact above this line"


def console() -> Console:
    """Standard output; as wide as the terminal, 80 columns where there is none. Brackets are text: sources and paths hold them."""
    width = None if shutil.get_terminal_size((0, 0)).columns else 80
    return Console(highlight=False, markup=False, emoji=False, width=width)


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
    if plan.decisions:
        out.print()
        decisions = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        decisions.add_column(style="cyan", no_wrap=True)
        decisions.add_column(overflow="fold", style="bold", max_width=18)
        decisions.add_column(overflow="fold", ratio=1)
        for decision in plan.decisions:
            decisions.add_row(decision.field, decision.value, decision.why + (f" [{decision.source}]" if decision.source else ""))
        out.print(decisions)
    for line in plan.waiting:
        out.print(Text(f"cannot: {line}", style="red"))


def show_line() -> None:
    """The mark between what only reads and what changes things."""
    console().rule(LINE, style="dim")


def describe(facts: Facts) -> str:
    """One line about a machine."""
    if facts.accelerators:
        first = facts.accelerators[0]
        return f"{len(facts.accelerators)} x {first.name} ({first.memory_gib:.0f} GiB), {facts.cpu_cores} cores, {facts.ram_gib:.0f} GiB RAM"
    return f"CPU, {facts.cpu_cores} cores, {facts.ram_gib:.1f} GiB RAM, {facts.disk_free_gib:.0f} GiB disk free"


def show_table(headings: tuple[str, ...], rows: list[tuple[str, ...]], styles: dict[str, str]) -> None:
    """A plain table; a row is coloured by its first cell's word."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        style = styles.get(row[1], "") if len(row) > 1 else ""
        table.add_row(row[0], Text(row[1], style=style), *row[2:])
    console().print(table)


def indent(text: str) -> str:
    """Text under a heading."""
    return textwrap.indent(text, "    ")


def _awaited(stage: str) -> str:
    order = ("fetch", "prepare", "train", "export", "serve")
    return order[order.index(stage) - 1]
