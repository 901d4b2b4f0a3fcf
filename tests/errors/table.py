"""The tables of bad specs: reading and rewriting them.

A case is a title, the text of a spec and, below ~~~, what `load` says of it:

    === learning rate as a word
    train: {learning_rate: fast}
    ~~~
    spec.yaml:6:24: train.learning_rate: must be a number or auto, not 'fast'

The text stands below BASE, whose keys it replaces. A title that ends in (whole) has the whole file; one that ends in
(escaped) has the whole file with \\t, \\r, \\ufeff and the like for characters that an editor would spoil. ⟨9×5000⟩ is 5000 nines.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

BASE = """\
spec: 1
name: my-run
model: {source: /models/m}
data: {train: [{source: /data/d.jsonl}]}
method: {kind: sft}
"""


@dataclass(frozen=True)
class Case:
    """One bad spec."""

    title: str
    body: str
    expected: str

    @property
    def text(self) -> str:
        """The whole file."""
        body = re.sub(r"⟨(.)×(\d+)⟩", lambda m: m[1] * int(m[2]), self.body)
        if self.title.endswith("(whole)"):
            return body
        if self.title.endswith("(escaped)"):
            return body.rstrip("\n").replace("\\\n", "").encode("latin-1", "backslashreplace").decode("unicode_escape")
        own = re.findall(r"^(\w+):", self.body, re.MULTILINE)
        return "".join(line + "\n" for line in BASE.splitlines() if line.partition(":")[0] not in own) + body


def read_table(path: Path) -> list[Case]:
    """The cases of one file, in order."""
    blocks = re.split(r"^=== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    cases = []
    for block in blocks:
        title, _, rest = block.partition("\n")
        body, _, expected = rest.partition("~~~\n")
        cases.append(Case(title, body, expected.strip("\n")))
    return cases


def write_table(path: Path, cases: list[Case]) -> None:
    """Write the cases back; what stands above the first one stays."""
    head = path.read_text(encoding="utf-8").partition("=== ")[0]
    path.write_text(head + "\n".join(f"=== {c.title}\n{c.body}~~~\n{c.expected}\n" for c in cases), encoding="utf-8")


def with_expected(case: Case, expected: str) -> Case:
    """The same case with another expectation."""
    return replace(case, expected=expected)
