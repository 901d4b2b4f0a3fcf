"""Steps and sealed artifacts for tests of the store and the executor."""

from pathlib import Path
from typing import Any

from entrypoint.run.seal import seal
from entrypoint.run.store import Store
from schemas.export_job import ExportJob
from schemas.manifest import Manifest
from schemas.plan import Plan, Step

ROOT = Path(__file__).resolve().parents[3]


def step(**other: Any) -> Step:
    """A step of export; its leaf is whatever the test launches."""
    given: dict[str, Any] = {
        "stage": "export", "title": "a step", "argv": ("python", "-m", "entrypoint.run.export", "{task}"), "folder": "n/exports", "identity": "a" * 64,
        "request": "b" * 64, "job": ExportJob(kind="safetensors", dtype="bf16", golden_tokens=24),
    }  # fmt: skip
    return Step(**{**given, **other})


def plan(*steps: Step) -> Plan:
    """A plan of these."""
    return Plan(name="n", steps=steps or (step(),))


def put(store: Store, made_by: Step, files: dict[str, bytes], finished_at: str = "") -> Path:
    """Seal files as the step's artifact; `finished_at` is written over the time of now."""
    draft = store.root / made_by.folder / ".partial-test"
    for name, content in files.items():
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / name).write_bytes(content)
    draft.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        stage=made_by.stage, name="n", identity=made_by.identity, request=made_by.request, job=made_by.job.model_dump(mode="json"), program="0.1.0", files=()
    )
    sealed = seal(draft, store.final(made_by), manifest)
    if finished_at:
        (store.final(made_by) / "manifest.json").write_text(sealed.model_copy(update={"finished_at": finished_at}).model_dump_json())
    return store.final(made_by)
