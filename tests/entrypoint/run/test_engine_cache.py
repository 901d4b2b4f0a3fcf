"""Caches that are found again by the same image and model, and by no others."""

from pathlib import Path

from entrypoint.run.engine_cache import cache_folder, differs, environment, remember_capacity
from entrypoint.run.seal import seal
from schemas.manifest import Manifest


def put(root: Path, name: str, content: str) -> Path:
    partial = root / "n" / "exports" / f".partial-{name}"
    partial.mkdir(parents=True)
    (partial / "w").write_text(content)
    seal(partial, partial.with_name(name), Manifest(stage="export", name="n", identity=name, request="r", job={}, program="0", files=()))
    return partial.with_name(name)


def test_one_folder_for_each_image_and_model(tmp_path: Path) -> None:
    one, same, other = put(tmp_path, "a", "x"), put(tmp_path, "b", "x"), put(tmp_path, "c", "y")
    folder = cache_folder(tmp_path, "f" * 64, one)
    assert folder.parent == tmp_path / "cache" and folder.is_dir() and folder.name.startswith("f" * 16 + "-")
    assert cache_folder(tmp_path, "f" * 64, same) == folder, "the same bytes under another name"
    assert cache_folder(tmp_path, "f" * 64, other) != folder
    assert cache_folder(tmp_path, "e" * 64, one) != folder
    assert cache_folder(tmp_path, "", one).name.startswith("unlocked-")


def test_everything_is_below_it(tmp_path: Path) -> None:
    given = environment(tmp_path)
    assert {"VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"} <= set(given)
    assert len(set(given.values())) == len(given) and all(Path(path).parent == tmp_path for path in given.values())


def test_capacity_of_the_first_start(tmp_path: Path) -> None:
    assert remember_capacity(tmp_path, ["--a"], 1000) == 0
    assert remember_capacity(tmp_path, ["--a"], 900) == 1000
    assert remember_capacity(tmp_path, ["--a"], 1000) == 1000, "the first stays what is compared with"
    assert remember_capacity(tmp_path, ["--b"], 500) == 0, "other arguments, another capacity"


def test_a_record_that_is_damaged_is_written_anew(tmp_path: Path) -> None:
    for text in ("", "[1]", "\x00"):
        (tmp_path / "capacity.json").write_text(text)
        assert remember_capacity(tmp_path, ["--a"], 7) == 0
        assert remember_capacity(tmp_path, ["--a"], 7) == 7


def test_differs() -> None:
    assert differs(900, 1000) and differs(1100, 1000)
    assert not differs(995, 1000) and not differs(0, 1000) and not differs(1000, 0)
