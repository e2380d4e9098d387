"""What operators read names what the code reads."""

import re

import pytest

from tests.stack import ROOT

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
READ = r"""(?:env_(?:str|bool|int|list|secret)|environ(?:ment)?\.get)\(\s*['"]([A-Z_]+)['"]"""


def variables(path):
    return set(re.findall(READ, path.read_text()))


@pytest.mark.parametrize("name", ["annotator/settings.py", "annotator/embedded.py", "gunicorn.conf.py"])
def test_every_environment_variable_is_in_the_operators_table(name):
    found = variables(ROOT / name)
    assert len(found) >= 3, "the pattern finds nothing: has the way of reading changed?"
    internal = {"PATH"}
    assert sorted(variable for variable in found - internal if f"`{variable}`" not in OPERATIONS) == []


def test_every_requirement_is_pinned_and_says_why():
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            pin = r"[A-Za-z0-9_.-]+(\[[a-z0-9]+\])?==[0-9][\w.]* +# \S.+"
            assert line.startswith("#") or re.fullmatch(pin, line), line


def test_models_stand_last_behind_the_line_where_the_installer_cuts():
    before, line, after = (ROOT / "requirements.txt").read_text().partition("\n# --- models")
    assert line
    assert "torch==" in after
    assert not re.search(r"^(torch|transformers|trl|datasets|accelerate)==", before, re.MULTILINE)
    assert "marker='# --- models'" in (ROOT / "install.sh").read_text()


def test_no_file_names_a_package_index():
    for path in (ROOT / name for name in ("Makefile", "install.sh", "Dockerfile", "requirements.txt", ".ci/run")):
        assert "http" not in path.read_text().replace("httpx", "").replace("default,http", ""), path


def test_versions_in_constraints_have_no_local_part():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if "+" in line or "==" not in line] == []
