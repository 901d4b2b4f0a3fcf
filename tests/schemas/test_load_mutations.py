"""Whatever is done to a spec, it loads or its problems are told with their places."""

import random
import time

from schemas.errors import SpecError
from schemas.load import load

VALID = """\
spec: 1
name: a-run
model: {source: hf://org/name, trust_remote_code: false}
data:
  train:
    - source: /a
      format: auto
  validation: 5%
  max_length: 512
method: {kind: sft, loss_on: all}
adapter: {kind: lora, rank: 16, targets: [q_proj]}
train:
  learning_rate: 1e-4
  checkpoint: {every: auto, keep: 2}
track: [tensorboard]
"""
SEED = 20_260_101
MUTATIONS = 2000
LOADS = 200
SLOWER = 3.0
"""Times that a mutation may take of a load of the spec that is right, on average, so that a slow path of the reader shows on any machine; most take less."""

CHARACTERS = ":-,[]{}#&*!|>'\"%@`?~\t\n\x00\x07\ufeff\u2028é語"
TOKENS = (
    *CHARACTERS, "  ", "\r\n", "---\n", "...\n", "<<: ", "*x", "&x ", "!!int ", "!!python/object:os.system ",
    "null", "true", "yes", "auto", ".nan", "-.inf", "1e400", "9" * 5000, "-1", "0", "0.5", "5%", "500%", "2026-01-01", "'1'",
    "[]", "{}", "[[1]]", "{a: b}", "{kind: dpo}", "kind: qlora", "seed: 1", "name: b\n", "rank: 1",
)  # fmt: skip


def mutate(text: str, rng: random.Random) -> str:
    """One to three edits: of characters, of tokens, of values, or of whole lines."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        lines = text.splitlines(keepends=True) or [""]
        line = rng.randrange(len(lines))
        edit = rng.randrange(7)
        if edit == 0:
            text = text[:at] + rng.choice(TOKENS) + text[at:]
        elif edit == 1:
            text = text[:at] + text[at + rng.randint(1, 8) :]
        elif edit == 2:
            key, colon, _ = lines[line].partition(": ")
            lines[line] = f"{key}{colon}{rng.choice(TOKENS)}\n"
            text = "".join(lines)
        elif edit == 3:
            lines.insert(rng.randrange(len(lines) + 1), lines[line])
            text = "".join(lines)
        elif edit == 4:
            del lines[line]
            text = "".join(lines)
        elif edit == 5:
            lines[line] = " " * rng.randint(0, 5) + lines[line].lstrip(" ")
            text = "".join(lines)
        else:
            other = rng.randrange(len(text) + 1)
            text = text[:at] + text[other : other + rng.randint(1, 12)] + text[at:]
    return text


def test_mutations() -> None:
    rng = random.Random(SEED)
    load(VALID)
    started = time.process_time()
    for _ in range(LOADS):
        load(VALID)
    usual = (time.process_time() - started) / LOADS
    loaded = refused = 0
    started = time.process_time()
    for number in range(MUTATIONS):
        text = mutate(VALID, rng)
        try:
            load(text)
            loaded += 1
        except SpecError as error:
            refused += 1
            marks = [(p.line, p.column) for p in error.problems]
            assert marks, f"mutation {number} is refused without a problem: {text!r}"
            assert all(line and column for line, column in marks), f"mutation {number} has a problem without a place: {text!r}\n{error}"
            assert marks == sorted(marks), f"mutation {number} is not told in file order: {text!r}\n{error}"
            assert all(line.isprintable() for line in str(error).split("\n")), f"mutation {number}: {error!r:.300}"
    spent = time.process_time() - started
    # Both have to be common, or the mutations prove nothing.
    assert loaded > MUTATIONS // 40
    assert refused > MUTATIONS // 2
    assert spent < SLOWER * MUTATIONS * usual, f"{spent / MUTATIONS / usual:.1f} times"
