"""One table of what is switched off: the Dockerfiles and the page for a site say the same."""

import re
from pathlib import Path

import pytest

from entrypoint.switches import SWITCHES, table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch.name)
def test_images_set_it(switch):
    for image in switch.images:
        text = (ROOT / "images" / image / "Dockerfile").read_text()
        assert re.search(rf"^(ENV)? +{switch.name}={switch.value}( \\)?$", text, re.M), f"images/{image}/Dockerfile"


def test_no_image_sets_one_that_is_not_in_the_table():
    known = {(s.name, s.value) for s in SWITCHES}
    for path in (ROOT / "images").glob("*/Dockerfile"):
        for found in re.findall(r"^ +(\w*(?:TELEMETRY|TRACK|OFFLINE|USAGE|REPORTING|_CHECK|DOWNLOAD_COUNTS)\w*)=(\S+)", path.read_text(), re.M):
            assert found in known, f"{path}: {found}"


def test_the_page_has_the_table():
    assert table() in (ROOT / "docs" / "air-gap.md").read_text()
