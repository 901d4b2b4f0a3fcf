"""damage.py IMAGE OUTPUT: a bundle of one real image and the demo's model and rows, damaged in 30 ways; each line of OUTPUT: damage, exit code, what load said.

Ends with 1 where one is not refused, not by its name, or where the target or the engine's images changed.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from entrypoint.bundle.make import CARRIED, make
from entrypoint.bundle.wheel import SOURCES
from schemas.load import load

ROOT = Path(__file__).resolve().parents[2]


def said_by(bundle: Path, signers: Path, to: Path) -> tuple[int, str]:
    argv = ["sh", str(ROOT / "entrypoint/bundle/load.sh"), "--bundle", str(bundle), "--signers", str(signers), "--to", str(to), "--yes"]
    done = subprocess.run(argv, capture_output=True, text=True)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def images() -> set[str]:
    """Ids that the engine has; their order differs from call to call."""
    return set(subprocess.run(["docker", "images", "--all", "--no-trunc", "--quiet"], capture_output=True, text=True, check=True).stdout.split())


def key(folder: Path, name: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / f"{name}.signers").write_text(f"site@example.org {(folder / f'{name}.pub').read_text()}")
    return folder / name


def checkout(folder: Path, image: str) -> Path:
    """The repository's files, with a Compose file of this one image."""
    for name in {*CARRIED, *SOURCES, "models", "data"}:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "compose.yaml").write_text("name: damage\ninclude:\n  - path: [compose/one.yaml]\n    project_directory: .\n")
    (folder / "compose/one.yaml").write_text(f"services:\n  one: {{image: '{image}', network_mode: none}}\n")
    return folder


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def kinds(bundle: Path) -> dict[str, str]:
    """A file of every kind: its name by what it is."""
    pieces: dict[str, list[str]] = {}
    item = ""
    for line in (bundle / "manifest").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word in ("image", "file"):
            item = word if word == "image" else rest.split()[-1]
        elif word == "piece":
            pieces.setdefault(item, []).append(rest)
    layers = sorted(pieces["image"], key=lambda name: (bundle / name).stat().st_size)
    wanted = (
        "models/smollm2-135m-instruct.gguf",
        "data/harbor/train.jsonl",
        "spec.yaml",
        "compose/images.lock.yaml",
        "sbom/scan.json",
        "caisson-0.1.0-py3-none-any.whl",
    )
    return {"largest layer": layers[-1], "smallest piece of an image": layers[0], **{name: pieces[name][0] for name in wanted}, "load.sh": "load.sh"}


def cases(bundle: Path) -> list[tuple[str, str, dict[str, bytes | None]]]:
    """What is done, a word that the refusal must hold, and the files that it leaves; None: none."""
    found: list[tuple[str, str, dict[str, bytes | None]]] = []
    named = kinds(bundle)
    for what, name in named.items():
        content = (bundle / name).read_bytes()
        found.append((f"{what}: one bit flipped in the middle", f"{name}: altered", {name: flipped(content, len(content) // 2)}))
        found.append((f"{what}: one byte short", f"{name}: truncated", {name: content[:-1]}))
        found.append((f"{what}: removed", f"{name}: missing", {name: None}))
    one, two = named["largest layer"], named["models/smollm2-135m-instruct.gguf"]
    size = {name: (bundle / name).stat().st_size for name in (one, two)}
    small = min(size, key=lambda name: size[name])
    found.append(("two parts swapped", "swapped: it is", {one: (bundle / two).read_bytes(), two: (bundle / one).read_bytes()}))
    found.append(("a byte added to a part", f"{small}: altered", {small: (bundle / small).read_bytes() + b"x"}))
    for name in ("manifest", "manifest.sig"):
        content = (bundle / name).read_bytes()
        found.append((f"{name}: one bit flipped", "refused: manifest", {name: flipped(content, len(content) // 2)}))
        found.append((f"{name}: removed", f"{name} is missing", {name: None}))
    manifest = (bundle / "manifest").read_text()
    found.append(("manifest: a line removed", "refused: manifest: altered", {"manifest": re.sub(r"^file .*spec\.yaml\n", "", manifest, flags=re.M).encode()}))
    return found


def damaged(bundle: Path, folder: Path, files: dict[str, bytes | None]) -> Path:
    """A copy of the bundle by hard links, but for these files."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["cp", "-al", str(bundle), str(folder)], check=True)
    for name, content in files.items():
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def main() -> None:
    work = Path(tempfile.mkdtemp(dir=ROOT.parent if len(sys.argv) < 4 else sys.argv[3]))
    lines, wrong = list[str](), 0
    try:
        root, mine = checkout(work / "root", sys.argv[1]), key(work, "mine")
        spec = ROOT / "specs/demo.yaml"
        start = time.monotonic()
        make(spec, load(spec.read_text()), root, work / "bundle", mine, 4 << 30, None)
        made = time.monotonic() - start
        bytes_ = sum(path.stat().st_size for path in (work / "bundle/parts").rglob("*") if path.is_file())
        lines.append(f"# bundle of {sys.argv[1].rpartition('/')[2]} and the demo's model: {bytes_} bytes in parts, made in {made:.1f} s")
        key(work, "other")
        before, to = images(), work / "to"
        every = [(what, word, files, work / "mine.signers", 0) for what, word, files in cases(work / "bundle")]
        every.append(("signed by a key that is not trusted", "nobody in", {}, work / "other.signers", 0))
        every.append(("a newer bundle was loaded there: a replay", "a replay", {}, work / "mine.signers", 1 << 40))
        for what, word, files, signers, last in every:
            shutil.rmtree(to, ignore_errors=True)
            if last:
                to.mkdir()
                (to / ".loaded").write_text(f"{last} {'0' * 64}\n")
            code, said = said_by(damaged(work / "bundle", work / "damaged", files), signers, to)
            left = [path.name for path in to.iterdir()] if to.exists() else []
            good = code == 4 and word in said and left == ([".loaded"] if last else []) and images() == before
            wrong += not good
            lines.append(f"{'refused' if good else 'WRONG'} {code} | {what} | {said.replace(str(work), '')}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    lines.append(f"# {len(every)} cases, {wrong} not refused by name or with something changed")
    Path(sys.argv[2]).write_text("\n".join(lines) + "\n")
    print(lines[0], lines[-1], sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
