"""What a teacher behind a server says of rows, asked by the leaf's own code in this process."""

from pathlib import Path

from method_rows import HELD_OUT, TRAINED, examples, write_split

from entrypoint.run.answers import answers
from entrypoint.run.events import Events
from schemas.answers_job import AnswersJob, Reach
from schemas.job import Task


def shards(folder: Path, train: int = TRAINED) -> Path:
    """Prepared rows of both splits."""
    folder.mkdir(parents=True)
    write_split(folder, "train", "text", examples(train))
    write_split(folder, "validation", "text", examples(HELD_OUT, held_out=True))
    return folder


def task_of(folder: Path, model: Path, prepared: Path, url: str, k: int, requests: int = 4, key_file: str = "/nowhere") -> Task:
    """A task whose output is folder/answers."""
    (folder / "answers").mkdir(parents=True, exist_ok=True)
    return Task(
        name="tiny", job=AnswersJob(teacher="large", top_k=k, reach=Reach(url=url, key_file=key_file, requests=requests)),
        inputs={"model": str(model), "prepared": str(prepared)}, output=str(folder / "answers"), events=str(folder / "events.jsonl"),
        summary=str(folder / "summary.json"),
    )  # fmt: skip


def ask(task: Task) -> dict:
    """The leaf's work; its summary."""
    return answers(task, Events(Path(task.events)))
