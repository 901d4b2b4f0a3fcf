"""Print prepared rows as the trainer sees them, learned tokens marked. `python -m entrypoint.run.show_rows PREPARED MODEL ROWS`."""

import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from entrypoint.run.loadable import load_tokenizer
from entrypoint.run.seal import read_manifest
from schemas.errors import CaissonError

MARKS = ("⟦", "⟧")
GREEN, PLAIN = "\x1b[32m", "\x1b[0m"


def main(prepared: Path, model: Path, rows: int) -> None:
    """Print the first training rows, as they come out of the trainer's own collator."""
    from entrypoint.run.quiet import hush

    hush()
    from entrypoint.run.sealed_trainer import Collator
    from entrypoint.run.token_rows import IGNORED, token_rows

    tokenizer = load_tokenizer(model)
    manifest = read_manifest(prepared)
    kind = manifest.job["rows"] if manifest else "text"
    found = token_rows(prepared, "train")
    assert found is not None  # the gate seals no artifact without training rows
    sides = 2 if kind == "pair" else 1
    count = min(rows * sides, len(found))
    collate = Collator(pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
    batch = collate([{key: list(found[at][key]) for key in ("input_ids", "labels")} for at in range(count)])
    colour = sys.stdout.isatty()
    for at in range(count):
        real = batch["attention_mask"][at].bool()
        ids, labels = batch["input_ids"][at][real].tolist(), batch["labels"][at][real].tolist()
        learned = [label != IGNORED for label in labels]
        side = f", {('chosen', 'rejected')[at % 2]}" if sides == 2 else ""
        print(f"--- row {at // sides + 1}{side}: {len(ids)} tokens, {sum(learned)} learned")
        print(mark(tokenizer, ids, learned, colour))
    print(f"--- learned tokens are {'green' if colour else f'between {MARKS[0]} and {MARKS[1]}'}; every other token is context")


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
