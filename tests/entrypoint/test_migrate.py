import pytest
from click.testing import CliRunner

from entrypoint import migrate as module
from entrypoint.cli import cli
from entrypoint.migrate import difference, migrate, replace
from schemas.errors import UsageError

SPEC = "# mine\nspec: 1\nname: tiny\nmodel: {source: /models/m}\ndata: {train: [{source: /data/r.jsonl}]}\nmethod: {kind: sft}\n"


def _next(text: str) -> str:
    return text.replace("spec: 1", "spec: 2").replace("name:", "title:")


def test_the_current_version_stays_as_it_is(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    result = CliRunner().invoke(cli, ["migrate", str(tmp_path / "s.yaml"), "--write"])
    assert result.exit_code == 0 and "s.yaml: version 1 is current, nothing to do" in result.output
    assert (tmp_path / "s.yaml").read_text() == SPEC


def test_steps_are_walked_one_by_one_and_comments_stay():
    steps = {1: _next, 2: lambda text: text.replace("spec: 2", "spec: 3")}
    new = migrate(SPEC, "s.yaml", steps, 3)
    assert new.startswith("# mine\nspec: 3\ntitle: tiny\n")
    assert "-spec: 1\n" in (found := difference(SPEC, new, "s.yaml")) and "+title: tiny\n" in found


def test_a_step_that_forgets_its_version_is_our_own_fault():
    with pytest.raises(AssertionError, match="wrote version 1"):
        migrate(SPEC, "s.yaml", {1: lambda text: text}, 2)


@pytest.mark.parametrize(
    ("text", "said"), [("spec: 7\n", "of version 7, this program knows"), ("name: x\n", "its version"), ("spec: true\n", "its version"), ("a: [\n", "not YAML")]
)
def test_what_it_cannot_start_from_is_refused_by_name(text, said):
    with pytest.raises(UsageError, match=said):
        migrate(text, "s.yaml")


def test_a_version_without_a_way_is_refused():
    with pytest.raises(UsageError, match="no way to version 2"):
        migrate(SPEC, "s.yaml", {}, 2)


def test_a_rewritten_file_keeps_its_rights(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)
    path.chmod(0o640)
    replace(path, _next(SPEC))
    assert path.read_text() == _next(SPEC) and path.stat().st_mode & 0o777 == 0o640 and list(tmp_path.iterdir()) == [path]


def test_no_step_starts_at_the_current_version_or_after_it():
    assert all(version < module.CURRENT for version in module.STEPS)
