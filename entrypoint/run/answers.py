"""Leaf of prepare's second step: a teacher behind an endpoint is asked about each prepared row. `python -m entrypoint.run.answers TASK`."""

import json
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from entrypoint.run.answer_files import is_whole, part_file, places_of, write_part
from entrypoint.run.answer_forms import Answer, Form, find_form, read_answer, texts_of
from entrypoint.run.events import Events, say
from entrypoint.run.leaf import run_leaf
from entrypoint.run.loadable import check_model, load_tokenizer
from entrypoint.run.quiet import hush
from entrypoint.run.shards import read_shards
from entrypoint.run.teacher_endpoint import Declined, TeacherEndpoint
from entrypoint.run.token_texts import FAMILY, TokenTexts
from entrypoint.run.transfer import describe_seconds
from schemas.answers_job import AnswersJob
from schemas.errors import GateRefused, UsageError
from schemas.job import Task

SPLITS = ("train", "validation")
PART_TOKENS = 65_536
"""Tokens of the rows of one file: what a kill loses at most, seconds of a GPU's work and two minutes of a laptop's."""

WIDTH = 2048
"""Tokens of a prompt that shows the server the model's tokens, where it says that it has room for them."""

AHEAD = 2
"""Times as many rows as are asked at once wait in line, so that one slow answer does not leave the server idle."""

SAY_EVERY_SECONDS = 5.0


class Row:
    """One prepared row."""

    def __init__(self, ids: np.ndarray, supervised: np.ndarray):
        self.ids, self.at = ids.tolist(), places_of(supervised)


class Asking:
    """One task: the rows in order, several at once, and a file for each part of them."""

    def __init__(self, task: Task, events: Events):
        assert isinstance(task.job, AnswersJob)
        self.job, self.output, self.events = task.job, Path(task.output), events
        model, shards = Path(task.inputs["model"]), Path(task.inputs["prepared"])
        check_model(model)
        self.known = TokenTexts(load_tokenizer(model), _head(model))
        self.k = min(self.job.top_k, self.known.count)
        self.rows = {split: [row for shard in read_shards(shards, split) for row in _rows(shard)] for split in SPLITS}
        self.endpoint = TeacherEndpoint(self.job.reach, self.job.teacher)
        self.form: Form | None = None
        self.started = self.said = time.monotonic()
        self.asked_tokens = 0

    def run(self) -> dict[str, Any]:
        """All parts that are not there yet; raises what the server's answers stand for."""
        parts = [(split, number, rows) for split in SPLITS for number, rows in enumerate(_parts(self.rows[split]))]
        left = [part for part in parts if not is_whole(part_file(self.output, *part[:2]), [len(row.at) for row in part[2]], self.k)]
        if len(left) < len(parts):
            say(f"  goes on: {len(parts) - len(left)} of {len(parts)} parts are there")
            self.events.write("resumed", parts=len(parts) - len(left), of=len(parts))
        try:
            if left:
                self._check_server()
                self._ask(left)
        finally:
            self.endpoint.close()
        for path in self.output.glob("*.draft"):
            path.unlink()
        places = {split: sum(len(row.at) for row in self.rows[split]) for split in SPLITS}
        return {"teacher": self.job.teacher, "top_k": self.k, "form": self.form.name if self.form else None, "places": places}

    def _check_server(self) -> None:
        """Raise before the first row is asked where the server lacks the model, room for a row, the log-probabilities or the tokenizer."""
        longest = max(len(row.ids) for rows in self.rows.values() for row in rows)
        served = self.endpoint.models()
        names = [str(one.get("id")) for one in served]
        if names and self.job.teacher not in names:
            raise UsageError(
                f"method.teacher_name: {self.endpoint.url} does not serve {self.job.teacher}",
                f"it serves {self.endpoint.one_line(', '.join(names[:8]))}: write one of these",
            )
        room = next((one.get("max_model_len") for one in served if one.get("id") == self.job.teacher), None)
        if isinstance(room, int) and longest + 1 > room:
            raise GateRefused(
                f"method.endpoint: the longest row has {longest} tokens, the server takes {room} with the one that it writes behind them",
                f"start it with --max-model-len {longest + 1} or more, or write data.max_length: {room - 1} with too_long: drop",
            )
        first = next(row for rows in self.rows.values() for row in rows if len(row.ids) > 1)
        self.form = find_form(self.endpoint, first.ids, self.k, self.known)
        self._check_vocabulary(min(room - 2, WIDTH) if isinstance(room, int) else longest)

    def _check_vocabulary(self, width: int) -> None:
        """Show the server each of the model's tokens once; where it says their texts, they have to be the model's. The first token of a prompt has no text."""
        width = max(1, width)
        chunks = [[max(0, start - 1), *range(start, min(start + width, self.known.count))] for start in range(0, self.known.count, width)]
        say(f"  shows the server the model's {self.known.count:,} tokens, in {len(chunks):,} prompts")
        with ThreadPoolExecutor(self.job.reach.requests) as pool:
            try:
                list(pool.map(self._show, chunks))
            except BaseException:
                self.endpoint.end()
                pool.shutdown(cancel_futures=True)
                raise

    def _show(self, ids: list[int]) -> None:
        assert self.form is not None
        try:
            choice = self.form.ask(self.endpoint, ids, 1)
        except Declined as error:
            raise GateRefused(f"method.endpoint: the teacher does not know all of the model's tokens: it answers {error.said}", FAMILY) from None
        for token, text in sorted(texts_of(self.form, choice)):
            self.known.check(token, text)

    def _ask(self, left: list[tuple[str, int, list[Row]]]) -> None:
        total, done = sum(len(rows) for *_, rows in left), 0
        with ThreadPoolExecutor(self.job.reach.requests) as pool:
            answers = self._in_order(pool, [row for *_, rows in left for row in rows])
            try:
                for split, number, rows in left:
                    found = []
                    for row in rows:
                        found.append(next(answers))
                        done += 1
                        self._progress(done, total, len(row.ids))
                    write_part(self.output, split, number, found)
            except BaseException:
                self.endpoint.end()
                pool.shutdown(cancel_futures=True)
                raise

    def _in_order(self, pool: ThreadPoolExecutor, rows: list[Row]) -> Iterator[Answer]:
        waiting: deque[Future[Answer]] = deque()
        for row in rows:
            waiting.append(pool.submit(self._answer, row))
            if len(waiting) >= AHEAD * self.job.reach.requests:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _answer(self, row: Row) -> Answer:
        """Of one row. A row without a token that is learned is not asked about."""
        assert self.form is not None
        if not len(row.at):
            return Answer(np.empty((0, self.k), np.int32), np.empty((0, self.k), np.float32))
        try:
            choice = self.form.ask(self.endpoint, row.ids, self.k)
        except Declined as error:
            raise GateRefused(
                f"method.endpoint: the server does not take a row of {len(row.ids)} tokens: it answers {error.said}",
                "where it is too long for the server: start that with more, or write a smaller data.max_length",
            ) from None
        return read_answer(self.form, choice, row.ids, row.at, self.k, self.known)

    def _progress(self, done: int, total: int, tokens: int) -> None:
        self.asked_tokens += tokens
        now = time.monotonic()
        if now - self.said < SAY_EVERY_SECONDS:
            return
        self.said, spent = now, now - self.started
        left = spent / done * (total - done)
        say(f"  {done:,} of {total:,} rows, {self.asked_tokens / spent:,.0f} tok/s, {describe_seconds(left)} left")
        self.events.write("progress", rows=done, total=total, tokens=self.asked_tokens, seconds_left=round(left))


def _rows(shard: dict[str, np.ndarray]) -> Iterator[Row]:
    for start, end in zip(shard["starts"][:-1], shard["starts"][1:], strict=True):
        yield Row(shard["ids"][start:end], shard["supervised"][start:end])


def _parts(rows: list[Row]) -> Iterator[list[Row]]:
    """The same rows give the same parts."""
    part: list[Row] = []
    held = 0
    for row in rows:
        part.append(row)
        held += len(row.ids)
        if held >= PART_TOKENS:
            yield part
            part, held = [], 0
    if part:
        yield part


def _head(model: Path) -> int:
    """Entries of the model's output; 0 where its config says it elsewhere."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    said = (config.get("text_config") or config).get("vocab_size")
    return said if isinstance(said, int) else 0


def answers(task: Task, events: Events) -> dict[str, Any]:
    """Fill task.output with a file a part; goes on behind those that an earlier attempt wrote."""
    hush()
    return Asking(task, events).run()


if __name__ == "__main__":
    run_leaf(answers)
