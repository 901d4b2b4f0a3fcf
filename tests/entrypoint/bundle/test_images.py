import io
import subprocess
import tarfile

from entrypoint.bundle.images import Image, _store
from entrypoint.bundle.parts import Parts

ONE, TWO = (Image(letter * 64, letter, 1) for letter in "ab")


def _member(name: str, content: bytes, mtime: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(content), mtime
    return member


def test_a_layer_of_two_images_is_stored_once_whatever_its_time(tmp_path):
    parts = Parts(tmp_path, 1 << 20)
    first, second = (_store(_member("blobs/sha256/" + "c" * 64, b"layer", when), io.BytesIO(b"layer"), image, parts) for image, when in ((ONE, 1), (TWO, 2)))
    assert first == second and len(parts.known) == 1


def test_what_is_of_one_image_is_kept_apart(tmp_path):
    parts = Parts(tmp_path, 1 << 20)
    for image in (ONE, TWO):
        _store(_member("manifest.json", image.id.encode(), 1), io.BytesIO(image.id.encode()), image, parts)
    assert len(parts.known) == 2


def test_stored_members_are_an_archive_again(tmp_path):
    parts = Parts(tmp_path, 7)
    stored = [p for name in ("blobs/sha256/" + "d" * 64, "index.json") for p in _store(_member(name, b"text" * 300, 5), io.BytesIO(b"text" * 300), ONE, parts)]
    packed = b"".join((tmp_path / part.name).read_bytes() for part in stored)
    plain = subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(plain + bytes(1024))) as archive:
        assert [(m.name, archive.extractfile(m).read()) for m in archive] == [("blobs/sha256/" + "d" * 64, b"text" * 300), ("index.json", b"text" * 300)]
