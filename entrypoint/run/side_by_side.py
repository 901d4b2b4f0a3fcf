"""Where a served model parts from the tuned one, for people: two columns of tokens, within 80 characters."""

from collections.abc import Callable
from pathlib import Path

from entrypoint.run.serve_parity import Difference
from schemas.errors import GateRefused

BEFORE, AFTER = 3, 3
"""Tokens that are shown around the first difference."""

COLUMN = 32
FIXES = {
    "prompt": "the chat template or the tokenizer of the export is not that of training: export again, and change no file of an export by hand",
    "answer": "the weights that are served are not those that were trained: look at the base and its revision, the export's kind and the engine's precision",
    "end": "the end tokens of the export are not those of training: look at eos_token_id in generation_config.json",
}
WARN = "`serve: {parity: warn}` serves it all the same"


def refusal(difference: Difference, total: int, folder: Path) -> GateRefused:
    """The gate's words."""
    head = f"serve: parity: golden prompt {difference.number} of {total} ({difference.golden.kind}), token {difference.at + 1} of its {difference.part}:"
    lines = [head, f"  {difference.what}", *_asked(difference), *table(difference, _texts(folder))]
    return GateRefused("\n".join(lines), f"{FIXES[difference.part]}; {WARN}")


def table(difference: Difference, text: Callable[[int], str]) -> list[str]:
    """A line a token, the first that differs marked."""
    lines = [f"  {'':7}{'trained':<{COLUMN}} {'served':<{COLUMN}}".rstrip()]
    start, end = max(0, difference.at - BEFORE), difference.at + AFTER + 1
    for at in range(start, min(end, max(len(difference.trained), len(difference.served)))):
        cells = [_cell(ids, at, text) for ids in (difference.trained, difference.served)]
        lines.append(f"  {'>' if at == difference.at else ' '}{at + 1:>5} {cells[0]:<{COLUMN}} {cells[1]}".rstrip())
    return lines


def _cell(ids: list[int], at: int, text: Callable[[int], str]) -> str:
    if at >= len(ids):
        return "(nothing)"
    shown = f"{ids[at]:>6} {text(ids[at])}"
    return shown if len(shown) <= COLUMN else shown[: COLUMN - 3] + "..."


def _asked(difference: Difference) -> list[str]:
    content = str(difference.golden.messages[-1].get("content") or "")
    shown = repr(content)
    return [f"  asked: {shown if len(shown) <= 68 else shown[:65] + '...'}"]


def _texts(folder: Path) -> Callable[[int], str]:
    """Token id -> its text, in quotes; empty where the folder has no tokenizer that shows it."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return lambda _: ""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda token: repr(tokenizer.decode([token], skip_special_tokens=False))
