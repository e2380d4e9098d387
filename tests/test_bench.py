"""What a bench script prints can be repeated: the versions, the seed and the machine stand beside its figures."""

import ast
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parent.parent / "bench").glob("*.py"))


def keys_and_options(source):
    """The keys of all dictionaries written out in a script, and its command-line options. Nothing is run."""
    keys, options = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            keys |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            options |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return keys, options


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_bench_names_its_versions_its_seed_and_its_machine(script):
    keys, options = keys_and_options(script.read_text())
    assert {"versions", "seed", "machine"} <= keys
    assert {"--json", "--seed"} <= options


def test_this_test_finds_the_scripts_and_sees_what_is_missing():
    assert len(SCRIPTS) >= 4
    assert keys_and_options('parser.add_argument("--json")\nprint({"seed": 1, **more})') == ({"seed"}, {"--json"})
