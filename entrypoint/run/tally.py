"""What the data gate counts; plain numbers, texts, lists and mappings, so that a run that is stopped keeps it as JSON."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from entrypoint.run.rejection import Rejected

LISTED = 1000
"""Bad rows that the report names; all are counted."""

HISTOGRAM = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
"""Upper bounds of the length classes, tokens."""


@dataclass
class Split:
    """What is counted of one split. A pair is one row, as long as its longer side."""

    rows: int = 0
    tokens: int = 0
    supervised: int = 0
    longest: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """Rows by their exact length: the plan counts packs with it."""

    def count(self, sizes: list[int], supervised: int) -> None:
        """Add one kept row: the tokens of each of its sequences, and those that are learned."""
        size = max(sizes)
        self.rows += 1
        self.tokens += sum(sizes)
        self.supervised += supervised
        self.longest = max(self.longest, size)
        name = next((f"<= {bound}" for bound in HISTOGRAM if size <= bound), f"> {HISTOGRAM[-1]}")
        self.lengths[name] = self.lengths.get(name, 0) + 1
        self.sizes[str(size)] = self.sizes.get(str(size), 0) + 1

    def summary(self) -> dict[str, Any]:
        """For the manifest and the report, short rows first."""
        order = [*(f"<= {bound}" for bound in HISTOGRAM), f"> {HISTOGRAM[-1]}"]
        kept = {"rows": self.rows, "tokens": self.tokens, "supervised": self.supervised, "longest": self.longest}
        return {**kept, "lengths": {name: self.lengths[name] for name in order if name in self.lengths}}


@dataclass
class Source:
    """What is counted of one source."""

    source: str
    split: str
    format: str = ""
    why: str = ""
    """Why it is taken to have that format."""

    read: int = 0
    letters: int = 0
    """Of its rows written as JSON; counted where sources take turns."""

    rejected: int = 0
    weight: float = 1.0
    max_rows: int | None = None
    threshold: str | None = None
    """Rows whose choice is above it are left out for max_rows; hexadecimal."""

    taken: int = 0
    """Rows that go on to the gate."""

    repeated: int = 0
    """Further copies of them, for a weight over 1."""

    left_out: int = 0
    """Rows not taken, for a weight under 1 or max_rows."""


@dataclass
class Tally:
    """Of a whole run."""

    train: Split = field(default_factory=Split)
    validation: Split = field(default_factory=Split)
    sources: list[Source] = field(default_factory=list)
    read: int = 0
    rejected: int = 0
    reasons: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By reason: count, and the first row that has it."""

    rejected_rows: list[dict[str, Any]] = field(default_factory=list)
    rest_lost: list[dict[str, Any]] = field(default_factory=list)
    """Files that cannot be read to their end."""

    too_long: int = 0
    longest_seen: int = 0
    too_long_rows: list[dict[str, Any]] = field(default_factory=list)
    cut: int = 0
    cut_tokens: int = 0
    split_rows: int = 0
    split_pieces: int = 0
    unrolled: int = 0
    unrolled_pieces: int = 0
    no_end: int = 0
    """Sequences whose learned tokens hold no end token."""

    thoughts_left_out: int = 0
    duplicates: int = 0
    duplicate_rows: list[str] = field(default_factory=list)
    leaked: int = 0
    leaked_rows: list[str] = field(default_factory=list)
    other_kinds: dict[str, int] = field(default_factory=dict)
    """Good rows of a kind that the method does not take."""

    extra: dict[str, int] = field(default_factory=dict)
    golden: list[list[Any]] = field(default_factory=list)
    """Validation rows that may become golden prompts: [digest, messages, tools], smallest digests first."""

    def reject(self, row: Rejected) -> None:
        """Count a bad row, and name it while the list is short."""
        self.rejected += 1
        entry = {"where": row.where, "reason": row.reason, "detail": row.detail, "words": row.words}
        kept = self.reasons.setdefault(row.reason, {"count": 0, "first": entry})
        kept["count"] += 1
        if len(self.rejected_rows) < LISTED:
            self.rejected_rows.append(entry)
        if row.rest_lost and len(self.rest_lost) < LISTED:
            self.rest_lost.append(entry)

    def count_extra(self, keys: tuple[str, ...]) -> None:
        """Keys that are not used; a source of rows with a thousand names of its own is not listed whole."""
        for key in keys:
            if key in self.extra or len(self.extra) < 100:
                self.extra[key] = self.extra.get(key, 0) + 1

    def report(self, max_length: int, deduplicate: bool) -> dict[str, Any]:
        """Everything that was counted."""
        by_reason = Counter({reason: kept["count"] for reason, kept in self.reasons.items()})
        return {
            "read": self.read,
            "train": self.train.summary(),
            "validation": self.validation.summary(),
            "sources": [{k: v for k, v in asdict(s).items() if k not in ("threshold", "letters")} for s in self.sources],
            "rejected": self.rejected,
            "rejected_by_reason": dict(by_reason.most_common()),
            "rejected_first": {reason: self.reasons[reason]["first"] for reason, _ in by_reason.most_common()},
            "rejected_rows": self.rejected_rows,
            "files_not_read_to_their_end": self.rest_lost,
            "rows_of_another_kind": self.other_kinds,
            "no_supervised_token": by_reason.get("no token carries loss", 0),
            "no_end_token_supervised": self.no_end,
            "too_long": self.too_long,
            "too_long_rows": self.too_long_rows,
            "cut": self.cut,
            "cut_tokens": self.cut_tokens,
            "split_rows": self.split_rows,
            "split_pieces": self.split_pieces,
            "unrolled_rows": self.unrolled,
            "unrolled_pieces": self.unrolled_pieces,
            "thinking_left_out_by_the_template": self.thoughts_left_out,
            "deduplicate": deduplicate,
            "repeated_rows": self.duplicates,
            "repeated_rows_first": self.duplicate_rows,
            "in_train_and_validation": self.leaked,
            "in_train_and_validation_first": self.leaked_rows,
            "ignored_keys": self.extra,
            "max_length": max_length,
        }

    @classmethod
    def restore(cls, kept: dict[str, Any]) -> "Tally":
        """From its JSON."""
        fields = {**kept, "train": Split(**kept["train"]), "validation": Split(**kept["validation"]), "sources": [Source(**s) for s in kept["sources"]]}
        return cls(**fields)
