"""The file of API keys: what is read, what is refused, and that no error repeats a key."""

import hashlib
import hmac
from pathlib import Path

import pytest

from entrypoint.run.gateway_keys import Key, read_keys, table
from schemas.errors import MachineError

SECRET = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4"
HASH = hashlib.sha256(SECRET.encode()).hexdigest()


def write(folder: Path, text: str) -> Path:
    file = folder / "keys"
    file.write_text(text)
    return file


def test_plain_and_hashed_with_and_without_a_name(tmp_path: Path) -> None:
    other = "x" * 16
    digest = hashlib.sha256(other.encode()).hexdigest()
    found = read_keys(write(tmp_path, f"# who may ask\n\nsha256:{HASH} alice\n{other}\n"))
    assert found == (Key("alice", HASH), Key(f"key-{digest[:8]}", digest))
    assert read_keys(write(tmp_path, f"{SECRET}  alice  \n")) == (Key("alice", HASH),)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "holds no key"),
        ("# only words\n", "holds no key"),
        (f"sha256:{HASH[:-1]} alice\n", ":1: what follows sha256: is not 64 hexadecimal digits"),
        ("tiny-one\n", ":1: a key has at least 16 visible ASCII letters"),
        ("ein-schlüssel-mit-umlaut\n", ":1: a key has at least 16 visible ASCII letters"),
        (f"# one\n{SECRET} two words\n", ":2: a name has up to 64 letters"),
        (f"{SECRET} a\n{'y' * 20} a\n", "gives the name a to two keys"),
    ],
)
def test_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(MachineError) as error:
        read_keys(write(tmp_path, text))
    assert what in str(error.value)
    assert SECRET not in str(error.value) and "tiny-one" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path, users_folder: Path) -> None:
    with pytest.raises(MachineError, match="is not there"):
        read_keys(users_folder / "keys")
    (users_folder / "folder").mkdir()
    with pytest.raises(MachineError, match="is a folder"):
        read_keys(users_folder / "folder")
    closed = write(users_folder, SECRET)
    closed.chmod(0)
    with pytest.raises(MachineError, match="cannot be read by uid 10001"):
        read_keys(closed)
    closed.chmod(0o600)
    closed.write_bytes(b"\xff\xfe")
    with pytest.raises(MachineError, match="is not text"):
        read_keys(closed)


def test_the_table_holds_neither_keys_nor_their_hashes() -> None:
    found = table((Key("alice", HASH),), "salt")
    assert found == {hmac.new(b"salt", HASH.encode(), hashlib.sha256).hexdigest(): "alice"}
    assert HASH not in found and table((Key("alice", HASH),), "another") != found
