import json
import struct

from entrypoint.bundle.papers import papers, refused, scanned
from schemas.load import load

SPEC = "spec: 1\nname: tiny\nmodel: {source: /models/m}\ndata: {train: [{source: /data/r.jsonl}]}\nmethod: {kind: sft}\n"


def _model(folder):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "vocab.txt").write_text("a\n")
    head = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(4))
    return folder


def test_files_of_a_good_model_are_listed(tmp_path):
    report = scanned("models/m", _model(tmp_path / "m"), False)
    assert report["refused"] is None and "model.safetensors" in report["files"]


def test_code_in_a_model_is_reported_as_fetch_would_refuse_it(tmp_path):
    (_model(tmp_path / "m") / "x.py").write_text("1")
    assert "x.py is Python code" in scanned("models/m", tmp_path / "m", False)["refused"]
    assert scanned("models/m", tmp_path / "m", True)["refused"] is None


def test_a_file_that_is_no_gguf_is_reported(tmp_path):
    (tmp_path / "m.gguf").write_text("<html>")
    assert "does not start with GGUF" in scanned("models/m.gguf", tmp_path / "m.gguf", False)["refused"]


def test_the_report_has_its_place_in_the_bundle(tmp_path):
    written = papers([], {"models/m": _model(tmp_path / "m")}, load(SPEC), tmp_path)
    assert [one["model"] for one in json.loads(written["sbom/scan.json"].read_text())] == ["models/m"]
    assert refused(tmp_path) == []
    (tmp_path / "m" / "x.py").write_text("1")
    papers([], {"models/m": tmp_path / "m"}, load(SPEC), tmp_path)
    assert "x.py is Python code" in refused(tmp_path)[0]
    assert set(written) == {"sbom/scan.json", "sbom/doubtful.txt"}
