"""What the sections of a spec say against each other is found by validate and by the first stage, before anything is fetched."""

from pathlib import Path

import pytest
from small_run import Caisson, SmallRun

BAD = [
    ("hardware: {strategy: ddp, offload: nvme}\n", "nvme is DeepSpeed's, so ddp does not go with it"),
    ("hardware: {strategy: fsdp}\nadapter: {kind: qlora}\n", "qlora"),
    ("train: {validation: {best: true}}\ndata: {train: [{source: /r.jsonl}], validation: 0%}\n", "no rows to validate with"),
    ("data: {train: [{source: /r.jsonl}], streaming: true}\n", "nobody has counted the rows"),
    ("train: {label_smoothing: 0.1}\nplugins: {loss: /data/f.py:f}\n", "a loss of its own"),
]


@pytest.mark.parametrize(("sections", "words"), BAD)
@pytest.mark.parametrize("command", ["validate", "fetch", "prepare"])
def test_refused_before_anything_is_fetched(caisson: Caisson, run: SmallRun, command: str, sections: str, words: str) -> None:
    kept = [line for line in run.spec_file.read_text().splitlines(keepends=True) if line.split(":")[0] not in {s.split(":")[0] for s in sections.splitlines()}]
    run.spec_file.write_text("".join(kept) + sections)
    code, out, err = caisson(command, run.spec_file, *(() if command == "validate" else ("--store", run.store.root)))
    assert (code, out) == (2, "") and words in err
    assert not list(Path(run.store.root).glob("models/*"))
