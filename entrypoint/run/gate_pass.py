"""One pass of all sources through the data gate, from where an earlier attempt has sealed."""

import gc
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from entrypoint.run.choice import find_threshold
from entrypoint.run.events import Events, say
from entrypoint.run.gate import Gate
from entrypoint.run.parts import Parts
from entrypoint.run.rejection import Rejected
from entrypoint.run.row_files import Place
from entrypoint.run.rows import Layout, Reader, Row, find_layout, rows_of
from entrypoint.run.tally import Source, Tally
from entrypoint.run.template import Renderer
from entrypoint.run.text_files import Records
from entrypoint.run.verdict import judge, judge_so_far
from schemas.errors import GateRefused
from schemas.job import PrepareJob, RowsJob, Task

TURN_ROWS = 512
"""Rows of one source that are streamed before another has its turn, at most: few beside the thousands of a part, within which rows are shuffled."""

PACKED, PACKING_SUFFIXES = 3, (".gz", ".bz2", ".xz", ".zst", ".parquet")
"""By how much text shrinks there, roughly: a wrong guess lets one source end before another, and loses no row."""

LETTERS_A_TOKEN = 4
"""Of English text in common vocabularies, roughly."""

ROWS_A_LOOK = 10_000
"""Of streamed rows, after which the gate judges what was read so far although no part is full: of bad rows alone none ever is."""

TURNS_A_PART = 8
"""At least, where rows are long or parts are small."""


@dataclass
class GatePass:
    """All sources of a job into task.output."""

    task: Task
    job: PrepareJob
    renderer: Renderer
    events: Events
    read: Reader
    positions: int | None
    """Of the model, in tokens."""

    def run(self) -> Tally:
        """What was counted of everything so far. Of rows that are streamed, to the end of the first part that has training rows, or behind it."""
        output, job = Path(self.task.output), self.job
        gc.freeze()  # what the libraries hold stays: looking through it for garbage takes as long as a thousand rows
        for old in output.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
        self.parts = Parts(output, key_of(job))
        record = self.parts.resume()
        self.tally, keys, places = Tally(), None, dict[int, Place]()
        if record:
            kept, keys = record
            self.tally = Tally.restore(kept["tally"])
            places = {int(source): Place(**place) for source, place in kept["places"].items()}
            if kept["ended"] or (job.streaming == "head" and self.tally.train.rows):
                return self.tally
            if job.streaming != "rest" or self.parts.number > 1:
                say(f"  goes on behind {self.tally.read:,} rows, whose {self.parts.number} parts are sealed")
        self.gate = Gate(job, self.renderer, output, self.tally, keys)
        # Validation first: a training row that is in it is left out.
        split = None if job.validation_share > 0 and not job.validation else "train"
        every = [*((rows, "validation") for rows in job.validation), *((rows, split) for rows in job.train)]
        whole = every[: len(job.validation)] if job.streaming else every
        start = min(places, default=0)
        for number, (rows, into) in enumerate(whole):
            if number >= start:
                self._pass(number, rows, into, places.get(number, Place()))
        if job.streaming:
            self._take_turns(dict(enumerate(job.train, len(job.validation))), places)
        else:
            self.gate.write_part(self.parts.number)
        return self.tally

    def _pass(self, number: int, rows: RowsJob, split: str | None, place: Place) -> None:
        """One source, whole."""
        source = self._known(number, rows, split)
        self.gate.pass_rows(self._rows(rows, source, place), split, source, lambda: self._seal({number: place}))
        self.events.write("read", source=rows.source, rows=self.tally.read)

    def _take_turns(self, train: dict[int, RowsJob], places: dict[int, Place]) -> None:
        """Training sources, some rows of each after the other: always the one of which the smallest share has been read."""
        places = {number: places.get(number, Place()) for number in train}
        sources = {number: self._known(number, rows, "train") for number, rows in train.items()}
        sizes = {number: max(1, _plain_bytes(self._folder(rows))) for number, rows in train.items()}
        readers = {number: self._rows(rows, sources[number], places[number], _weighed(self.read, sources[number])) for number, rows in train.items()}
        most = self.job.part_tokens * LETTERS_A_TOKEN / TURNS_A_PART
        looked = self.tally.read
        while readers:
            number = min(readers, key=lambda n: (sources[n].letters / sizes[n], n))
            self.gate.pass_rows(_turn(readers, number, sources[number], most), "train", sources[number])
            if self.gate.is_full:
                self.gate.drain()
                self._seal(places)
                if self.job.streaming == "head" and self.tally.train.rows:
                    return
                self._judge()
                looked = self.tally.read
            elif self.tally.read - looked >= ROWS_A_LOOK:
                looked = self.tally.read
                if self._is_lost():
                    return
        self.gate.drain()
        self._seal(places, ended=True)
        self._judge()

    def _judge(self) -> None:
        """Part by part, by everything so far; the first one is judged when its report is written."""
        if self.job.streaming == "rest":
            judge(self.tally, self.job, self.positions)

    def _is_lost(self) -> bool:
        """Whether no more need be read: the first part is refused when its report is written, what is behind it here."""
        try:
            judge_so_far(self.tally, self.job, self.positions)
        except GateRefused:
            if self.job.streaming == "head":
                return True
            raise
        return False

    def _seal(self, places: dict[int, Place], *, ended: bool = False) -> None:
        files, added = self.gate.write_part(self.parts.number)
        self.parts.seal(self.tally, places, added, files, ended=ended)

    def _known(self, number: int, rows: RowsJob, split: str | None) -> Source:
        if number >= len(self.tally.sources):
            self.tally.sources.append(self._look_at(rows, split or "train and validation", self.gate.takes))
        return self.tally.sources[number]

    def _look_at(self, rows: RowsJob, split: str, kind: str) -> Source:
        """What a source is, and which of its rows max_rows leaves."""
        layout = find_layout(self._folder(rows), rows.source, rows.format, rows.columns, self.read)
        if isinstance(layout, Rejected):
            raise GateRefused(f"{layout.where}: {layout.reason}: {layout.detail}", f"the first row: {layout.words}")
        found = Source(rows.source, split, layout.format, layout.why, weight=rows.weight, max_rows=rows.max_rows)
        if rows.max_rows is not None:
            found.threshold = find_threshold(self._rows(rows, found, Place()), kind, self.job.seed, rows.max_rows)
        return found

    def _rows(self, rows: RowsJob, source: Source, place: Place, read: Reader | None = None) -> Iterator[Row | Rejected]:
        layout = Layout(source.format, source.why, rows.columns)
        return rows_of(self._folder(rows), rows.source, layout, weights=self.job.loss_on == "weight", place=place, read=read or self.read)

    def _folder(self, rows: RowsJob) -> Path:
        return Path(self.task.inputs["data"]) / rows.path


def _weighed(read: Reader, source: Source) -> Reader:
    """The same reader, which counts what it reads in `source.letters`."""

    def reading(folder: Path, shown: str, place: Place | None = None) -> Records:
        for record in read(folder, shown, place):
            if not isinstance(record, Rejected):
                source.letters += len(json.dumps(record[1], default=str))
            yield record

    return reading


def _plain_bytes(folder: Path) -> int:
    """Roughly what the rows of a source take as plain JSON Lines."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size * (PACKED if path.suffix.lower() in PACKING_SUFFIXES else 1) for path in files)


def _turn(readers: dict[int, Iterator[Row | Rejected]], number: int, source: Source, most: float) -> Iterator[Row | Rejected]:
    """Some rows of one reader, up to so many letters, which are counted as it reads; a reader that has ended is taken out."""
    end = source.letters + most
    for _ in range(TURN_ROWS):
        row = next(readers[number], None)
        if row is None:
            del readers[number]
            return
        yield row
        if source.letters >= end:
            return


def key_of(job: PrepareJob) -> str:
    """What parts have to have in common to belong together: the first part and the rest do."""
    return job.model_dump_json(exclude={"streaming"})
