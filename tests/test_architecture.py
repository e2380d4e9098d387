"""The arrows of the architecture: who may import whom. Read from the source, nothing is imported."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VAGUE = {"utils", "helpers", "common", "misc", "util", "helper"}
STEPS = ("ingest", "featurise", "label", "retrain", "route", "assign", "judge", "aggregate", "export")

# Data flows one way. A step may know these other steps, beside what in pipeline/ is no step (work, ledger ...).
KNOWS = {
    "ingest": {"featurise"},
    "featurise": {"label"},
    "label": set(),
    "retrain": set(),
    "route": {"label", "aggregate", "retrain"},  # retrain: to load the performance model it stored
    "assign": set(),
    "judge": set(),
    "aggregate": set(),
    "export": {"parts"},
    # No steps, but they work for one.
    "parts": set(),  # works for export: the data files, part by part
    "preview": {"ingest"},  # looks at a file as it will be read
    "start": {"aggregate"},
    "onboarding": {"judge"},  # to check an answer as the seat does
    "revise": {"judge", "review"},  # an answer given again; it answers what was sent back
    # A settlement is an answer, checked as any; a known answer that was wrong counts against nobody.
    "review": {"judge", "quality"},
    "compare": {"ingest"},  # comparisons of responses written here come in as a file's do
    "basis": {"retrain"},  # works for route: what a plan is made from, the performance model among it
    "seed_set": {"label", "route"},  # a plan of its own; labelers are asked about the same slice
    "loop": {"route"},  # what closes the circle: it asks for a new plan when something was learnt
    "tag": {"featurise"},  # tags become columns of the features
    "backtest": {"ingest"},  # reads an uploaded file as it does
    "fetch": {"ingest"},  # a public set comes in as a file does
    "datasets": {"export"},  # a version of a data set is an export by its choices
    "pairs": {"ingest"},  # what it makes comes in as what is imported
    "record": {"ingest"},  # judgments made elsewhere come in as a file's do
}


def sources(folder):
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "migrations" not in path.parts)


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Dotted names a file imports, `from a import b` as a.b, those inside functions and TYPE_CHECKING included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module_name(path).split(".")
            is_package = path.name == "__init__.py"
            kept = package[: len(package) - node.level + is_package] if node.level else []
            base = ".".join([*kept, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def starts(name, *prefixes):
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def arrows(folder, *forbidden):
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in sorted(imports(path))
        if starts(name, *forbidden)
    ]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("annotator/models", ("annotator.pipeline", "annotator.views", "annotator.forms", "annotator.api")),
        ("annotator/models", ("annotator.management", "annotator.tick", "annotator.embedded")),
        ("annotator/models", ("annotator.readings", "annotator.formats")),
        ("annotator/formats", ("annotator.readings", "annotator.models")),
        ("annotator/readings", ("annotator.pipeline", "annotator.views", "annotator.forms", "annotator.api")),
        ("annotator/readings", ("annotator.management", "annotator.tick", "annotator.embedded", "annotator.cluster")),
        ("annotator/pipeline", ("annotator.views", "annotator.forms", "annotator.api", "annotator.management")),
        ("annotator/pipeline", ("annotator.tick", "annotator.embedded", "annotator.cluster")),
        ("annotator/formats", ("annotator.views", "annotator.forms", "annotator.api", "annotator.pipeline")),
        ("annotator/forms", ("annotator.views", "annotator.api", "annotator.management")),
        ("annotator/views", ("annotator.management", "annotator.api", "annotator.tick", "annotator.embedded")),
        ("annotator/management", ("annotator.views", "annotator.api", "annotator.forms")),
        ("annotator/api", ("annotator.views", "annotator.management", "annotator.tick", "annotator.embedded")),
        ("annotator", ("tests", "bench", "demo")),
        ("routing", ("django", "annotator", "labelers", "celery", "tests")),
        ("labelers", ("django", "annotator", "routing", "celery", "tests")),
    ],
)
def test_imports_point_one_way(folder, forbidden):
    assert sources(folder), f"{folder} has no source: is the test looking in the right place?"
    assert arrows(folder, *forbidden) == []


def steps_known_to(path):
    """The steps that a file of pipeline/ imports, itself left out."""
    names = {name.split(".")[2] for name in imports(path) if starts(name, "annotator.pipeline") and name.count(".") > 1}
    return names & set(STEPS) - {path.stem}


@pytest.mark.parametrize("path", sources("annotator/pipeline"), ids=lambda path: path.stem)
def test_a_step_knows_only_the_next_ones(path):
    assert steps_known_to(path) <= KNOWS.get(path.stem, set())


def test_the_steps_have_an_order():
    """No circle in what is allowed: somebody who reads the steps in order meets no name twice."""
    TopologicalSorter({step: KNOWS[step] for step in STEPS}).prepare()


@pytest.mark.parametrize("folder", ["annotator", "routing", "labelers", "tests", "bench", "demo"])
def test_files_are_named_by_their_subject(folder):
    assert [str(path) for path in sources(folder) if path.stem in VAGUE] == []


def test_heavy_packages_are_imported_where_they_are_used():
    """`import torch` takes seconds and is absent with MODELS=no: never at the top of a file."""
    heavy = {"torch", "transformers", "sentence_transformers", "trl", "datasets", "accelerate", "crowdkit"}
    found = []
    for path in [*sources("annotator"), *sources("routing"), *sources("labelers")]:
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.relative_to(ROOT)} imports {name}" for name in names if name.split(".")[0] in heavy]
    assert found == []


@pytest.mark.parametrize("folder", ["annotator", "tests"])
def test_advisory_locks_are_of_a_transaction(folder):
    """A session's lock stays with its connection in the pool, and speaks for whoever gets that next."""
    taken = re.compile(r"pg_(try_)?advisory_lock(_shared)?\(")
    assert [path.name for path in sources(folder) if taken.search(path.read_text())] == []


def test_this_test_sees_a_forbidden_arrow(tmp_path, monkeypatch):
    """The guard of the guard: relative and nested imports are seen."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    folder = tmp_path / "annotator" / "models"
    folder.mkdir(parents=True)
    (folder / "x.py").write_text("def f():\n    from ..pipeline import work\n")
    assert imports(folder / "x.py") == {"annotator.pipeline.work"}
