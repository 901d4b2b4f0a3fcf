"""Commands about what was found: the report of an evaluation, and several runs beside each other."""

import json
import sys
from pathlib import Path

import click

from entrypoint import render_report
from entrypoint.chain import read_spec
from entrypoint.compared import differences, runs
from entrypoint.evaluations import find_evaluation, page_of, verdicts
from entrypoint.options import json_option, spec_argument, store_option
from entrypoint.run.store import Store
from schemas.errors import StepFailed


@click.command("report")
@spec_argument
@click.argument("evaluation", default="")
@store_option
@json_option
@click.option("--page", "as_page", is_flag=True, help="Print report.html, for a browser: `caisson report SPEC --page > report.html`.")
def show(spec: Path, evaluation: str, store: Path, as_json: bool, as_page: bool) -> None:
    """Show what an EVALUATION found, by its ID or the beginning of it; the newest where none is named. The gate is that of SPEC as it is now."""
    wanted, place = read_spec(spec), Store(store)
    found = find_evaluation(wanted.name, place, evaluation)
    if as_page:
        sys.stdout.write(_page(page_of(found, place)))
    elif as_json:
        click.echo(found.report.model_dump_json(indent=2))
    else:
        render_report.show_report(found.report, verdicts(wanted, found), found.id)


def _page(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StepFailed(f"{file} cannot be read: {error}", "remove its folder and evaluate again") from None


@click.command()
@spec_argument
@click.argument("training", nargs=-1)
@store_option
@json_option
def compare(spec: Path, training: tuple[str, ...], store: Path, as_json: bool) -> None:
    """Show trainings of SPEC's name beside each other, by ID or the beginning of it; all of them where none is named."""
    found = runs(read_spec(spec).name, Store(store), training)
    if not as_json:
        render_report.show_compared(found)
        return
    told = [
        {"id": run.id, "finished_at": run.made.finished_at, "settings": run.settings, "losses": run.losses, "validation_losses": run.validation_losses,
         "evaluation": run.evaluation.id if run.evaluation else None, "scores": [score.model_dump(mode="json") for score in run.scores.values()]}
        for run in found
    ]  # fmt: skip
    click.echo(json.dumps({"runs": told, "differences": differences(found)}, indent=2))


REPORT_COMMANDS = (show, compare)
