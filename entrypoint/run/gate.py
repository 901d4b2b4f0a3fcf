"""The data gate: rows in, shards and counts out."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from entrypoint.run.choice import SPLITS, Chooser
from entrypoint.run.conversation import Message
from entrypoint.run.formats import METHODS
from entrypoint.run.long_rows import has_end, split_tokens, split_turns, truncate
from entrypoint.run.rejection import Fault, Rejected, first_words
from entrypoint.run.rows import Row
from entrypoint.run.shards import ShardWriter
from entrypoint.run.tally import LISTED, Source, Tally
from entrypoint.run.template import Encoded, Rendered, Renderer
from schemas.job import PrepareJob

BATCH_ROWS = 512
BATCH_LETTERS = 350_000
"""A batch ends with either: rows can be short and rows can be long. Larger batches cost memory, smaller ones the tokenizer's threads their time."""

AHEAD = 1
"""Batches beside the one that is being written: one is in the tokenizer, so that it does not wait."""

NO_LOSS = "no token carries loss"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A row that is to be encoded."""

    row: Row
    source: Source
    split: str
    copies: int
    rendered: list[Rendered]


class Gate:
    """Keeps what passes and counts what does not."""

    def __init__(self, job: PrepareJob, renderer: Renderer, output: Path, tally: Tally, keys: dict[str, np.ndarray] | None = None):
        self.job, self.renderer, self.tally = job, renderer, tally
        self.chooser = Chooser(job, tally, keys)
        self.writers = {split: ShardWriter(output, split, job.rows == "labelled") for split in SPLITS}
        self.takes = "raw" if job.raw else {"text": "conversation"}.get(job.rows, job.rows)
        self.workers = ThreadPoolExecutor(AHEAD + 1)  # the tokenizer's own threads are behind both: while one takes the lock, the other's batch goes on
        self.waiting: deque[tuple[list[Admitted], Future[list[Any]]]] = deque()

    def pass_rows(self, found: Iterable[Row | Rejected], split: str | None, source: Source, seal: Callable[[], None] | None = None) -> None:
        """Rows of one source into a split, or into both by their content where `split` is None; `seal` is called where a part of them is full.

        Without `seal` the last batches stay in the tokenizer until `drain`. While one batch is encoded without the interpreter's lock, the next is read and rendered and the one before is written.
        """
        batch: list[Row] = []
        letters = 0
        for row in found:
            self.tally.read += 1
            source.read += 1
            if isinstance(row, Rejected):
                self._reject(row, source)
                continue
            batch.append(row)
            letters += len(row.text) + sum(len(m["content"]) for m in row.messages)
            if len(batch) >= BATCH_ROWS or letters >= BATCH_LETTERS:
                self._take(batch, split, source)
                batch, letters = [], 0
                if seal is not None and self.is_full:
                    self.drain()
                    seal()
        self._take(batch, split, source)
        if seal is not None:
            self.drain()

    @property
    def is_full(self) -> bool:
        """Whether enough is written for a part."""
        return sum(writer.held for writer in self.writers.values()) >= self.job.part_tokens

    def write_part(self, number: int) -> tuple[list[Path], dict[str, np.ndarray]]:
        """The files of a part, and the contents that it brought."""
        return [path for writer in self.writers.values() if (path := writer.flush(number))], self.chooser.take_fresh()

    def drain(self) -> None:
        """Write what is still in the tokenizer."""
        while self.waiting:
            self._keep(*self.waiting.popleft())

    def _reject(self, row: Rejected, source: Source) -> None:
        source.rejected += 1
        self.tally.reject(row)

    def _take(self, batch: list[Row], split: str | None, source: Source) -> None:
        """Choose, render and hand to the tokenizer."""
        admitted = []
        for row, side, copies in self.chooser.choose(self._of_the_method(batch, source), split, source):
            try:
                admitted.append(Admitted(row, source, side, copies, self.renderer.render(row)))
            except Fault as fault:
                self._reject(Rejected(row.where, fault.reason, fault.detail, _words(row)), source)
        if admitted:
            self.waiting.append((admitted, self.workers.submit(self.renderer.tokenize, [r for a in admitted for r in a.rendered])))
        while len(self.waiting) > AHEAD:
            self._keep(*self.waiting.popleft())

    def _of_the_method(self, batch: list[Row], source: Source) -> list[Row]:
        """Rows of the kind that the method takes; each other one is a rejection that says who does."""
        for row in batch:
            if row.kind != self.takes:
                self.tally.other_kinds[row.kind] = self.tally.other_kinds.get(row.kind, 0) + 1
                self.tally.count_extra(row.extra)
                detail = f"the row is for {METHODS[row.kind]}"
                self._reject(Rejected(row.where, f"not a kind of row that {self.job.method} takes", detail, _words(row)), source)
        return [row for row in batch if row.kind == self.takes]

    def _keep(self, admitted: list[Admitted], encodings: Future[list[Any]]) -> None:
        rest = iter(self.renderer.finish([r for a in admitted for r in a.rendered], encodings.result()))
        for one in admitted:
            sequences = [next(rest) for _ in one.rendered]
            try:
                self._write(one, self._fit_all(one, sequences))
            except Fault as fault:
                self._reject(Rejected(one.row.where, fault.reason, fault.detail, _words(one.row)), one.source)

    def _fit_all(self, one: Admitted, sequences: list[Encoded]) -> list[list[Encoded]]:
        """Every example of a row, each one sequence or the two of a pair, none over max_length; empty for a row that is left out as too long."""
        examples = [sequences] if one.row.kind == "pair" else [[s] for s in sequences]
        if one.row.kind == "pair":
            _check_shared_prompt(*sequences)
        for sequence in sequences:
            if not np.count_nonzero(sequence.supervised):
                raise Fault(NO_LOSS)
        fitted = []
        for example in examples:
            kept = self._fit(one, example)
            if not kept:
                longest = max(len(s.ids) for s in example)
                self.tally.too_long += 1
                self.tally.longest_seen = max(self.tally.longest_seen, longest)
                if len(self.tally.too_long_rows) < LISTED:
                    self.tally.too_long_rows.append({"where": one.row.where, "tokens": longest, "words": _words(one.row)})
                return []
            fitted += kept
        return fitted

    def _fit(self, one: Admitted, example: list[Encoded]) -> list[list[Encoded]]:
        limit, long = self.job.max_length, max(len(s.ids) for s in example)
        if long <= limit:
            return [example]
        if self.job.too_long == "truncate":
            cut = [truncate(s, limit, self.renderer.stop_ids) for s in example]
            kept = [s for s in cut if s is not None]
            if len(kept) < len(cut):
                raise Fault(f"no answer begins within {limit} tokens", "it cannot be cut so that something is left to learn")
            self.tally.cut += 1
            self.tally.cut_tokens += sum(len(a.ids) - len(b.ids) for a, b in zip(example, kept, strict=True))
            return [kept]
        if self.job.too_long != "split" or one.row.kind == "pair" or len(one.rendered) > 1:
            return []
        pieces = [[piece] for piece in split_tokens(example[0], limit)] if one.row.kind == "raw" else self._split(one.row)
        if pieces:
            self.tally.split_rows += 1
            self.tally.split_pieces += len(pieces)
        return pieces

    def _split(self, row: Row) -> list[list[Encoded]]:
        def encode(messages: tuple[Message, ...]) -> list[Encoded]:
            return self.renderer.encode(self.renderer.render(replace(row, messages=messages)))

        pieces = split_turns(row.messages, lambda messages: all(len(s.ids) <= self.job.max_length for s in encode(messages)))
        return [[s] for piece in pieces or () for s in encode(piece) if s.supervised.any()]

    def _write(self, one: Admitted, examples: list[list[Encoded]]) -> None:
        if not examples:
            return
        if len(one.rendered) > 1 and one.row.kind != "pair":
            self.tally.unrolled += 1
            self.tally.unrolled_pieces += len(examples)
        self.tally.thoughts_left_out += any(r.thoughts_left_out for r in one.rendered)
        counted = self.tally.train if one.split == "train" else self.tally.validation
        for example in examples:
            learned = sum(int(np.count_nonzero(s.supervised)) for s in example)
            for _ in range(one.copies):
                counted.count([len(s.ids) for s in example], learned)
                for sequence in example:
                    self.writers[one.split].add(sequence, one.row.desirable)
            self.tally.no_end += sum(not has_end(s.ids, s.supervised, self.renderer.stop_ids) for s in example)


def _check_shared_prompt(chosen: Encoded, rejected: Encoded) -> None:
    """Both sides have the same tokens up to the answer: a token that reaches over the border would make two prompts of one."""
    starts = [int(s.supervised.argmax()) for s in (chosen, rejected)]
    if starts[0] != starts[1] or not np.array_equal(chosen.ids[: starts[0]], rejected.ids[: starts[1]]):
        raise Fault("chosen and rejected do not share the tokens of their question", f"the answers begin at token {starts[0] + 1} and {starts[1] + 1}")


def _words(row: Row) -> str:
    return first_words(row.text or next((m["content"] for m in row.messages if m["role"] != "system" and m["content"]), ""))
