"""Plans and tables as people see them, on narrow terminals too, with nothing swallowed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from entrypoint.render import describe, show_line, show_plan, show_table
from schemas.export_job import ExportJob
from schemas.facts import Accelerator, Facts
from schemas.plan import Decision, Plan, Step

ROOT = Path(__file__).resolve().parents[2]
CPU = Facts(device="cpu", cpu_cores=2, ram_gib=7.75, disk_free_gib=91.4, shm_gib=1.0, program="0.1.0")
GPU = CPU.model_copy(update={"device": "cuda", "accelerators": (Accelerator(name="NVIDIA L4", memory_gib=22.5, compute_capability="8.9"),) * 2})


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def step(**other: str) -> Step:
    given = {"stage": "export", "title": "a step", "identity": "a" * 64, "request": "", "folder": "n/exports", **other}
    return Step(argv=(), job=ExportJob(kind="safetensors", dtype="bf16", golden_tokens=1), **given)  # type: ignore[arg-type]


def shown(plan: Plan, capsys: pytest.CaptureFixture[str], facts: Facts = CPU) -> str:
    show_plan(plan, facts)
    return capsys.readouterr().out


def flat(text: str) -> str:
    return " ".join(text.split())


def test_machines() -> None:
    assert describe(CPU) == "CPU, 2 cores, 7.8 GiB RAM, 91 GiB disk free"
    assert describe(GPU) == "2 x NVIDIA L4 (22 GiB), 2 cores, 8 GiB RAM"


def test_plan(capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(name="n", steps=(step(),), decisions=(Decision(field="f", value="v", why="because", source="a paper"),), waiting=("serve: no GPU",))
    assert [line.rstrip() for line in shown(plan, capsys).splitlines()] == [
        "n on CPU, 2 cores, 7.8 GiB RAM, 91 GiB disk free",
        f"export  a step  {'a' * 16}",
        "",
        "f  v  because [a paper]",
        "",
        "cannot: serve: no GPU",
    ]


@pytest.mark.parametrize(("stage", "before"), [("prepare", "fetch"), ("train", "prepare"), ("export", "train"), ("serve", "export")])
def test_step_that_waits(capsys: pytest.CaptureFixture[str], stage: str, before: str) -> None:
    assert f"after {before}" in shown(Plan(name="n", steps=(step(stage=stage, identity=""),)), capsys)


def test_no_decisions_no_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(shown(Plan(name="n", steps=(step(),)), capsys).splitlines()) == 2


@pytest.mark.parametrize("text", ["[config.json]", "[bold]x[/bold]", "[/]", "/data/a[1].jsonl", ":smile:", "100%", "\\[x]"])
def test_text_is_shown_as_it_is(capsys: pytest.CaptureFixture[str], text: str) -> None:
    plan = Plan(name="n", steps=(step(title=text),), decisions=(Decision(field="f", value=text, why=text, source=text),), waiting=(text,))
    assert shown(plan, capsys).count(text) == 5
    show_table(("a", "b", "c"), [(text, text, text)])
    assert capsys.readouterr().out.count(text) == 3


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_nothing_is_lost_and_nothing_is_too_wide(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    long = "hf://" + "organisation/" + "x" * 70
    plan = Plan(name="n" * 63, steps=(step(title=long),), decisions=(Decision(field="field", value=long, why="why " * 40),), waiting=("w " * 90,))
    out = shown(plan, capsys)
    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out
    assert out.count("why") == 40
    assert out.count("x") >= 140


def test_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_line()
    line = capsys.readouterr().out
    assert len(line.rstrip("\n")) == 80
    assert " no impact above this line " in line


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("check", "state", "found"), [("disk", "ok", "9 GiB"), ("a longer one", "fail", "")])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "check         state  found",
        "disk          ok     9 GiB",
        "a longer one  fail",
    ]


@pytest.mark.parametrize("columns", [40, 80])
def test_the_path_of_an_artifact_is_in_one_piece_where_there_is_room(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    path, why = "my-model-v2/prepared/13ad7615b1bba93f", "2026-11-25 23:33:22 UTC, 0.1 MB"
    show_table(("stage", "state", "artifact", "why"), [("prepare answers", "sealed", path, why)])
    out = capsys.readouterr().out
    assert (path in out) == (columns == 80)
    assert max(map(len, out.splitlines())) <= columns
    assert all("".join(out.split()).count(letter) >= text.count(letter) for text in (path, why) for letter in set(text) - {" "}), "nothing is lost"


def test_no_colour_codes_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in shown(Plan(name="n", steps=(step(),), waiting=("x",)), capsys)


def test_eighty_columns_without_a_terminal() -> None:
    code = "from entrypoint.render import show_line; show_line()"
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment, stdin=subprocess.DEVNULL)
    assert len(said.stdout.rstrip("\n")) == 80


def test_unlike_gpus_are_all_named() -> None:
    one = GPU.accelerators[0]
    mixed = GPU.model_copy(update={"accelerators": (one, one, one.model_copy(update={"name": "Tesla T4", "memory_gib": 14.6}))})
    assert describe(mixed) == "2 x NVIDIA L4 (22 GiB), 1 x Tesla T4 (15 GiB), 2 cores, 8 GiB RAM"
