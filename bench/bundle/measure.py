"""measure.py OUTPUT: the demo's bundle: size and time, verify and load in an engine of its own behind the counter, and what one more row costs. As root."""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from entrypoint.bundle.images import compose_images
from entrypoint.bundle.make import CARRIED, make
from entrypoint.bundle.wheel import SOURCES
from schemas.load import load

ROOT = Path(__file__).resolve().parents[2]
PART = 4 << 30


def checkout(folder: Path) -> Path:
    """The repository's files, so that a row can be added to a copy."""
    for name in {*CARRIED, *SOURCES, "models", "data"}:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return folder


def made(root: Path, bundle: Path, key: Path, since: Path | None) -> tuple[float, int, int]:
    """Seconds, parts and bytes."""
    start = time.monotonic()
    spec = root / "specs/demo.yaml"
    make(spec, load(spec.read_text()), root, bundle, key, PART, since)
    seconds = time.monotonic() - start
    listed = re.findall(r"^part \S+ (\d+) ", (bundle / "manifest").read_text(), re.M)
    return seconds, len(listed), sum(map(int, listed)) + (bundle / "manifest").stat().st_size


def main() -> int:
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
        folder = Path(name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
        (folder / "signers").write_text(f"site@example.org {(folder / 'key.pub').read_text()}")
        (folder / "root").mkdir()
        root = checkout(folder / "root")
        unpacked = sum(image.bytes for image in compose_images(root)[1])
        seconds, parts, whole = made(root, folder / "one", folder / "key", None)
        lines = [f"images unpacked, shared layers counted for each: {unpacked} bytes", f"bundle: {parts} parts, {whole} bytes, {seconds:.1f} s"]
        gap = ["bash", str(ROOT / "bench/bundle/gap.sh"), *(str(folder / part) for part in ("one", "signers", "other"))]
        done = subprocess.run(gap, capture_output=True, text=True)
        lines += [f"in another engine: {line}" for line in done.stdout.splitlines() if re.match("verify:|load:|packets|control:", line)]
        with (root / "data/harbor/train.jsonl").open("r+") as rows:
            first = rows.readline()
            rows.seek(0, 2)
            rows.write(first)
        seconds, parts, bytes_ = made(root, folder / "two", folder / "key", folder / "one/manifest")
        lines.append(f"one row added, --since: {parts} parts, {bytes_} bytes, {seconds:.1f} s: {bytes_ / whole:.4%} of the whole")
        Path(sys.argv[1]).write_text("\n".join(lines) + "\n")
        print("\n".join(lines), done.stderr[-400:] if done.returncode else "")
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
