"""What goes into the archive for whoever helps, and what must not."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from entrypoint.support import REMOVED, collect, pack, redact

KEY = "ab12" * 16
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token hf_AbCdEfGhIjKlMnOp in a line", "hf_AbCdEfGhIjKlMnOp"),
        ('"Authorization: Bearer abc.def"', "abc.def"),
        (f"key {KEY} one", KEY),
        ("http_proxy=http://me:hunter2@proxy:3128", "hunter2"),
        ("PASSWORD=correct-horse", "correct-horse"),
        ('{"api_key": "s3cret-value"}', "s3cret-value"),
        ("wandb_token: 0123abc", "0123abc"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\n-----END OPENSSH PRIVATE KEY-----", "b3BlbnNzaC1r"),
        ("-----BEGIN PRIVATE KEY-----\ncut off before its end", "cut off"),
        ("sk-proj-0123456789abcdef", "0123456789abcdef"),
    ],
)
def test_secrets_go(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert REMOVED in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "key_file: secrets/teacher_key",
        "HF_TOKEN_FILE=/run/secrets/hf_token",
        "tokens: 7143",
        "max_tokens = 100",
        "source: /models/smollm2-135m-instruct.gguf",
        "image sha256:c6f0dd8ddb92",
        "https://host:8000/v1",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redact(text) == text


def test_an_archive_of_a_broken_spec_still_helps(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("spec: 1\nnmae: wrong\n")
    parts = collect(spec, tmp_path / "store")
    assert "nmae: wrong" in parts["spec.yaml"]
    assert parts["plan.json"].startswith("not to be had: ")
    assert json.loads(parts["doctor.json"])[0]["code"].startswith("D")
    path = pack(parts, tmp_path / "out.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        assert archive.getnames() == [f"caisson-support/{name}" for name in parts]
        member = archive.extractfile("caisson-support/spec.yaml")
        assert member is not None and member.read().decode() == parts["spec.yaml"]
    first = path.read_bytes()
    assert pack(parts, path).read_bytes() == first


def test_events_go_by_known_fields_and_never_with_a_row(tmp_path: Path) -> None:
    spec = ROOT / "specs" / "demo.yaml"
    name = next(line.split()[1] for line in spec.read_text().splitlines() if line.startswith("name:"))
    logs = tmp_path / name / "logs"
    logs.mkdir(parents=True)
    lines = [
        {"at": 1, "event": "skipped", "step": 3, "rows": ["my private words"], "prompt": "whisper"},
        {"event": "failed", "what": "no room", "fix": "make room"},
    ]
    (logs / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "half a li")
    said = collect(spec, tmp_path)["events/train.jsonl"]
    assert "private" not in said and "whisper" not in said
    assert [json.loads(line) for line in said.splitlines()] == [
        {"event": "skipped", "at": 1, "step": 3},
        {"event": "failed", "what": "no room", "fix": "make room"},
        {"event": "a line that is no JSON"},
    ]


def test_by_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "entrypoint", "support", "specs/demo.yaml", "--store", str(tmp_path), "--output"]
    done = subprocess.run([*command, str(tmp_path / "a.tar.gz")], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "versions.txt" in done.stdout and "look through them before you send it" in done.stdout
    refused = subprocess.run([*command, str(tmp_path / "none" / "a.tar.gz")], capture_output=True, text=True, cwd=ROOT)
    assert refused.returncode == 3
    assert "Traceback" not in refused.stderr and "--output" in refused.stderr
