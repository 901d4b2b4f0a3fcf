"""Nothing stays, and nothing outside is touched."""

from pathlib import Path

from entrypoint.run.stale import clear


def test_everything_goes(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("a", ".hidden", "deep/er/b"):
        (folder / name).write_text("x")
    (folder / "link").symlink_to(outside)
    clear(folder)
    assert list(folder.iterdir()) == [] and (outside / "kept").read_text() == "x"
