"""A trained artifact's curves to an MLflow server, afterwards: `python -m entrypoint.run.upload_mlflow ARTIFACT URI [EXPERIMENT]`.

wandb and SwanLab have a command for it; MLflow has none.
"""

import json
import sys
import tempfile
from pathlib import Path

from entrypoint.run.seal import read_manifest
from entrypoint.run.tracker_clients import MlflowClient, Run
from schemas.track import TrackerJob

KEY = Path("/run/secrets/mlflow_key")


def upload(artifact: Path, uri: str, experiment: str | None = None) -> int:
    """Every row of curve.json; the exit code."""
    manifest = read_manifest(artifact)
    if manifest is None or manifest.stage != "train":
        print(f"upload: {artifact} is no sealed train artifact", file=sys.stderr)
        return 2
    rows = json.loads((artifact / "curve.json").read_text(encoding="utf-8"))
    config = {"name": manifest.name, "train": {k: v for k, v in manifest.job.items() if k not in ("stage", "track")}, "versions": manifest.versions}
    key = KEY.read_text(encoding="utf-8").strip() if KEY.is_file() else None
    with tempfile.TemporaryDirectory() as place:
        job = TrackerJob(kind="mlflow", online=True, project=experiment or manifest.name, server=uri)
        client = MlflowClient(Run(manifest.name, job, True, Path(place) / "mlflow", config, manifest.identity[:8], key or None))
        client.open()
        client.log(rows)
        client.close(finished=True)
    print(f"upload: {len(rows)} rows of {manifest.name} to {uri}, experiment {job.project}, run {client.run_id}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python -m entrypoint.run.upload_mlflow ARTIFACT URI [EXPERIMENT]")
    sys.exit(upload(Path(sys.argv[1]), *sys.argv[2:]))
