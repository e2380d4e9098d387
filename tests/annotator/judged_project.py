"""A small judged project from which every format has something to write, and its exports as `datasets` loads them."""

import os
import shutil
from pathlib import Path

from django.core.files.storage import default_storage
from django.utils.module_loading import import_string
from django.utils.timezone import now

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

from annotator import protocols  # noqa: E402
from annotator.formats import WRITERS  # noqa: E402
from annotator.formats.source import FormatUnfit, Options  # noqa: E402
from annotator.models import Profile, Project, Protocol, Response  # noqa: E402
from annotator.pipeline import aggregate, export  # noqa: E402
from tests.builders import (  # noqa: E402
    make_comparison,
    make_judgment,
    make_labeler,
    make_member,
    make_person,
    make_plan,
    make_project,
)

ODD = "naïve\u2028Ω𝄞\t“x”\r\n\n  e\u0301 \u200f שלום \x01 end "


def exported(project, folder, format, container, **options):
    """The folder with the files of a new export."""
    made, _job = export.request_export(project, format, container, aggregate.default_recipe(project), options, None)
    export.write_export(made)
    made.refresh_from_db()
    for file in made.files:
        path = Path(folder, file["name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        with default_storage.open(file["address"]) as stored, path.open("wb") as copy:
            shutil.copyfileobj(stored, copy)
    return str(folder)


def load(folder, config=None):
    import datasets

    return datasets.load_dataset(folder, config)


def stay_offline(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)


def conversation(number):
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"{ODD} {number}"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Go on."},
    ]


def answered_by_all(project, answers):
    """Comparisons of conversations judged by a reviewer and another person, each with one of `answers`, and one of a
    single turn that a labeler judged alone."""
    people = [make_person(project, make_member(project, "reviewer")), make_person(project)]
    routes = {}
    for number, answer in enumerate(answers):
        comparison = make_comparison(project, prompt=conversation(number), a=f"{ODD} A{number}", b=f"{ODD} B{number}")
        for person in people:
            make_judgment(comparison, person, active_ms=4200, created_at=now(), **answer)
        routes[comparison] = None
    judge = make_labeler(project, "judge")
    alone = make_comparison(project, a=ODD + "a", b=ODD + "b")
    make_judgment(alone, judge, p_b=0.8, cost="0.002")
    make_plan(project, {**routes, alone: judge})
    return project


def everything_asked(levels):
    """A protocol that asks for all that there is, on the levels of a preset."""
    presets = protocols.PRESETS
    return {
        **presets["multipref"],
        "levels": presets[levels]["levels"],
        "attributes": presets["helpsteer2"]["attributes"],
        "spans": presets["fine-grained"]["spans"],
        "justification": "optional",
        "feedback": "optional",
        "edit": "optional",
    }


def everything_answered(levels):
    """A project whose people said all that can be said: A better, B better, a tie; with steps, and edits compared."""
    project = Project.objects.create(name=f"All on {levels}", provenance="generated")
    definition = everything_asked(levels)
    Protocol.objects.create(project=project, version=1, preset="", definition=definition)
    highest = protocols.read(definition).highest
    answered_by_all(project, [everything_said(level) for level in (-highest, highest, 0)])
    Response.objects.filter(prompt__project=project).update(metadata={"step_ends": [len(ODD)]})
    edits = {"original_response": ODD, "feedback": [f"Too odd. {ODD}"]}
    compared = make_comparison(project, a=f"{ODD} better", b=f"{ODD} worse", metadata=edits)
    for person in project.raters.filter(kind="person"):
        Profile(rater=person).agree({"age": "25-34", "languages": ["en"]}, "Yes.")
        make_judgment(compared, person, created_at=now(), **everything_said(-highest))
    return project


def everything_said(level):
    better, worse = ("a", "b") if level <= 0 else ("b", "a")
    overall = {"level": (level > 0) - (level < 0), "confidence": 2, "reasons": []}
    return {
        "level": level,
        "confidence": 3.0,
        "aspects": {key: dict(overall) for key in ("helpful", "truthful", "harmless")},
        "attributes": {each["key"]: {better: 4, worse: 0} for each in protocols.PRESETS["helpsteer2"]["attributes"]},
        "spans": [
            {
                "side": worse,
                "start": 2,
                "end": 5,
                "type": "wrong_fact",
                "severity": "major",
                "comment": "",
                "text": "ïve",
            }
        ],
        "feedback": {"a": f"The response is odd. {ODD}", "b": f"The response is odder. {ODD}"},
        "edit": {"side": worse, "text": f"{ODD} edited"},
        "justification": ODD,
    }


def fits(format, definition):
    try:
        import_string(WRITERS[format])(protocols.read(definition), Options())
    except FormatUnfit:
        return False
    return True


def project_for(format):
    """A project that fills every table of the format."""
    levels = next(each for each in ("multipref", "summarize9") if fits(format, everything_asked(each)))
    return everything_answered(levels)


def plain():
    project = make_project("plain", provenance="generated")
    return answered_by_all(project, [{"level": level} for level in (1, -1, 0, 1, -1, 1)])
