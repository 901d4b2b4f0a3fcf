"""setup/key.sh, whose file the gateway reads."""

import hashlib
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from entrypoint.run.gateway_keys import read_keys

ROOT = Path(__file__).resolve().parents[2]


class Script:
    """Runs it with its files in a folder of the test."""

    def __init__(self, folder: Path):
        self.key, self.folder = folder / "api_key", folder / "gateway"
        self.environment = {"PATH": os.environ["PATH"], "API_KEY_FILE": str(self.key), "GATEWAY_SECRETS": str(self.folder)}

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(["bash", "setup/key.sh", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def known(self) -> dict[str, str]:
        """Hash by name, as the gateway reads them."""
        return {key.name: key.hash for key in read_keys(self.folder / "keys")}


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def sha256(key: str) -> str:
    return hashlib.sha256(key.strip().encode()).hexdigest()


def test_a_first_key_once(script: Script) -> None:
    script()
    key = script.key.read_text()
    assert re.fullmatch("[0-9a-f]{64}", key.strip()) and script.known() == {"default": sha256(key)}
    assert key.strip() not in (script.folder / "keys").read_text()
    before = (script.folder / "keys").stat()
    script()
    assert script.key.read_text() == key and (script.folder / "keys").stat().st_ino == before.st_ino, "nothing to do: nothing written"


def test_keys_from_before_there_was_a_gateway(script: Script) -> None:
    script.key.write_text("first-key-0123456789\n\nsecond-key-0123456789")
    script()
    assert set(script.known().values()) == {sha256("first-key-0123456789"), sha256("second-key-0123456789")}


def test_another_first_key_takes_the_place_of_the_old_and_of_no_other(script: Script) -> None:
    script()
    alice = script("add", "alice")
    script.key.chmod(0o600)
    script.key.write_text("another-key-0123456789\n")
    script()
    assert script.known() == {"alice": sha256(alice), "default": sha256("another-key-0123456789")}


def test_add_list_and_revoke(script: Script) -> None:
    keys = {name: script("add", name) for name in ("alice", "bob")}
    assert script.known() == {name: sha256(key) for name, key in keys.items()}
    assert [line.split("\t")[0] for line in script("list").splitlines()] == ["alice", "bob"]
    assert all(key.strip() not in script("list") for key in keys.values())
    script("revoke", "alice")
    assert script.known() == {"bob": sha256(keys["bob"])}


def test_comments_stay(script: Script) -> None:
    script("add", "alice")
    (script.folder / "keys").chmod(0o600)
    with (script.folder / "keys").open("a") as file:
        file.write("# of the night shift\n")
    script("add", "bob")
    script("revoke", "alice")
    assert (script.folder / "keys").read_text().startswith("# of the night shift\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "alice"), "there is a key named alice"),
        (("add", "two words"), "a name has up to 64"),
        (("revoke", "carol"), "no key named carol"),
        (("what",), "key.sh add NAME"),
    ],
)
def test_refused(script: Script, arguments: tuple[str, ...], said: str) -> None:
    script("add", "alice")
    before = (script.folder / "keys").read_text()
    assert said in script(*arguments, code=2)
    assert (script.folder / "keys").read_text() == before


def test_nobody_else_reads_them(script: Script) -> None:
    script()
    mode = stat.S_IMODE((script.folder / "keys").stat().st_mode)
    assert mode == (0o440 if os.geteuid() == 0 else 0o444)
