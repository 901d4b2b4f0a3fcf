import pytest
from click.testing import CliRunner

from entrypoint.cli import cli
from schemas.errors import UsageError


@pytest.mark.parametrize("size", ["0", "4GB", "-1", "", "4.5GiB"])
def test_a_part_size_that_is_none_is_refused(tmp_path, size):
    argv = [str(tmp_path / "spec.yaml"), "--to", str(tmp_path / "b"), "--key", "k", "--part-size", size]
    result = CliRunner().invoke(cli, ["bundle", *argv])
    assert isinstance(result.exception, UsageError) and "--part-size" in str(result.exception)
    assert not (tmp_path / "b").exists()


def test_load_ends_with_the_code_of_the_script(tmp_path):
    (tmp_path / "signers").write_text("x")
    assert CliRunner().invoke(cli, ["load", str(tmp_path), "--signers", str(tmp_path / "signers")]).exit_code == 4
    assert CliRunner().invoke(cli, ["load", str(tmp_path), "--signers", str(tmp_path / "none")]).exit_code == 2
