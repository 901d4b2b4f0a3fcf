"""Writes entrypoint/plan/tables/locks.json: the sha256 of each image's locked packages, which is part of every artifact's identity.

python images/digests.py [--check]
"""

import hashlib
import json
import sys
from pathlib import Path

from schemas.generate import write_or_compare

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "entrypoint" / "plan" / "tables" / "locks.json"
IMAGES = ("train", "export", "serve-vllm", "serve-lmdeploy", "evaluate")
ALONE = ("serve-lmdeploy", "evaluate")
"""Without the torch layer of the others."""


def digests() -> dict[str, dict[str, str]]:
    """By image and each accelerator that it has; the torch layer below belongs to it."""
    return {
        image: {kind: _digest(image, kind) for kind in ("cpu", "cuda") if (ROOT / "images" / image / f"requirements.{kind}.txt").is_file()} for image in IMAGES
    }


def _digest(image: str, kind: str) -> str:
    pins = [
        line.split(" ")[0]
        for name in ((image,) if image in ALONE else ("torch", image))
        for line in (ROOT / "images" / name / f"requirements.{kind}.txt").read_text(encoding="utf-8").splitlines()
        if line and line[0].isalnum()
    ]
    return hashlib.sha256("\n".join(sorted(set(pins))).encode()).hexdigest()


def main() -> int:
    """Write the table, or with --check say whether it is current."""
    return write_or_compare({TABLE: json.dumps(digests(), indent=2) + "\n"}, "make generate", check="--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
