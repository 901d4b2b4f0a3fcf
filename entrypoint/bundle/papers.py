"""What a bundle says of itself: bills of materials of its images, licences that leave a doubt, and what the scan of its models found."""

import json
from pathlib import Path
from typing import Any

from entrypoint.bundle.images import Image, run_in, title_of
from entrypoint.run.scan import check_gguf, scan_model
from schemas.errors import CaissonError
from schemas.spec import Spec

DOUBTFUL = "sbom/doubtful.txt"
SCAN = "sbom/scan.json"


def papers(found: list[Image], models: dict[str, Path], spec: Spec, folder: Path) -> dict[str, Path]:
    """Write them into `folder`; returns where each goes on the other side. `models`: places on the other side and here."""
    written: dict[str, Path] = {}
    doubts: list[str] = []
    for image in found:
        title = title_of(image)
        if not title.startswith("caisson/"):
            doubts.append(f"{image.name}: not an image of Caisson's: nothing inside says what it holds")
            continue
        name = title.removeprefix("caisson/")
        written[f"sbom/{name}.cdx.json"] = folder / f"sbom-{name}"
        written[f"sbom/{name}.cdx.json"].write_text(run_in(image, "sbom"))
        doubts += [f"{image.name}: {line}" for line in run_in(image, "sbom", "--doubtful").splitlines()]
    (folder / "doubtful").write_text("\n".join(doubts) + "\n")
    reports = [scanned(to, path, spec.model.trust_remote_code) for to, path in sorted(models.items())]
    (folder / "scan").write_text(json.dumps(reports, indent=1) + "\n")
    return {**written, DOUBTFUL: folder / "doubtful", SCAN: folder / "scan"}


def scanned(to: str, path: Path, trust_remote_code: bool) -> dict[str, Any]:
    """What fetch will say of a model on the other side: its files, those left behind, or why it is refused."""
    report: dict[str, Any] = {"model": to, "trust_remote_code": trust_remote_code, "refused": None}
    try:
        if path.is_dir():
            seen = scan_model(path, to, trust_remote_code)
            return report | {"files": seen.files, "left_behind": {"pickles": seen.pickles, "others": seen.others}}
        check_gguf(path)
        return report | {"files": [path.name]}
    except CaissonError as error:
        return report | {"refused": str(error)}


def refused(folder: Path) -> list[str]:
    """Why fetch will refuse models of the bundle whose papers were written into `folder`; empty where it takes them all."""
    return [report["refused"] for report in json.loads((folder / "scan").read_text()) if report["refused"]]
