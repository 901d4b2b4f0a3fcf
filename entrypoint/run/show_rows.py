"""Print prepared rows as the trainer sees them, learned tokens marked. `python -m entrypoint.run.show_rows PREPARED MODEL ROWS`."""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from entrypoint.run.loadable import load_tokenizer
from entrypoint.run.seal import read_manifest
from schemas.errors import CaissonError
from schemas.method import RowKind

MARKS = ("⟦", "⟧")
GREEN, PLAIN = "\x1b[32m", "\x1b[0m"


def main(prepared: Path, model: Path, rows: int) -> None:
    """Print the first training rows, as they come out of the trainer's own collator."""
    from entrypoint.run.quiet import hush

    hush()
    from entrypoint.run.token_rows import token_rows

    tokenizer = load_tokenizer(model)
    manifest = read_manifest(prepared)
    kind: RowKind = manifest.job["rows"] if manifest else "text"
    found = token_rows(prepared, "train", kind)
    assert found is not None  # the gate seals no artifact without training rows
    shown = [found[at] for at in range(min(rows, len(found)))]
    colour = sys.stdout.isatty()
    for title, ids, learned in collated(shown, kind, tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id):
        print(f"--- {title}: {len(ids)} tokens, {sum(learned)} learned")
        print(mark(tokenizer, ids, learned, colour))
    print(f"--- learned tokens are {'green' if colour else f'between {MARKS[0]} and {MARKS[1]}'}; every other token is context")


def collated(rows: list[dict[str, Any]], kind: str, pad: int) -> Iterator[tuple[str, list[int], list[bool]]]:
    """Each sequence of a batch of these rows without its padding: what it is, its ids, and which of them carry loss."""
    from entrypoint.run.methods.pairs import PairCollator
    from entrypoint.run.methods.text import text
    from entrypoint.run.token_rows import IGNORED

    if kind == "pair":
        batch = PairCollator(pad)(rows)
        marked = batch["completion_mask"] == 1
        order = [(f"row {at + 1}, {side}", at + number * len(rows)) for at in range(len(rows)) for number, side in enumerate(("chosen", "rejected"))]
    else:
        batch = text(pad).collator([{key: list(row[key]) for key in ("input_ids", "labels")} for row in rows])
        marked = batch["labels"] != IGNORED
        wanted = [f", {'wanted' if row['label'] else 'unwanted'}" if kind == "labelled" else "" for row in rows]
        order = [(f"row {at + 1}{word}", at) for at, word in enumerate(wanted)]
    for title, at in order:
        real = batch["attention_mask"][at].bool()
        yield title, batch["input_ids"][at][real].tolist(), marked[at][real].tolist()


def mark(tokenizer: Any, ids: list[int], learned: list[bool], colour: bool) -> str:
    """The text of the tokens, what is learned in green or in brackets."""
    before, behind = (GREEN, PLAIN) if colour else MARKS
    parts = []
    for is_learned, run in groupby(zip(ids, learned, strict=True), key=lambda pair: pair[1]):
        text = tokenizer.decode([i for i, _ in run], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        parts.append(f"{before}{text}{behind}" if is_learned else text)
    return "".join(parts)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
