"""Data sets: a name for what several exports are versions of, all made by the same choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from annotator.models import Dataset, Export, Job, Project, User
from annotator.pipeline import export as exporting
from annotator.pipeline.work import StepRefused


def keep(export: Export, name: str, by: User | None) -> Dataset:
    """A data set whose first version is this export. Raises StepRefused when it is one's already or the name is taken.

    The export itself does not change: what it was chosen by becomes the data set's.
    """
    assert export.recipe is not None
    choices = {
        "container": export.container,
        "recipe": export.recipe,
        "options": export.options,
        "filters": export.filters,
    }
    with transaction.atomic():
        made = _create(export.project, name, export.format, choices, by)
        if not Export.objects.filter(pk=export.pk, dataset=None).update(dataset=made, version=1):
            raise StepRefused(_("This export is a version of a data set already."))
    return made


def begin(project: Project, name: str, by: User | None, **asked: Any) -> tuple[Dataset, Export]:
    """A new data set and its first version, asked for with the choices that `export.request_export` takes."""
    choices = {key: value for key, value in asked.items() if key != "format"}
    with transaction.atomic():
        made = _create(project, name, asked["format"], choices, by)
        return made, write_version(made, by)[0]


def write_version(dataset: Dataset, by: User | None) -> tuple[Export, Job]:
    """Ask for a version by the data set's choices as things are now. Raises StepRefused where they no longer fit."""
    return exporting.request_export(
        dataset.project,
        dataset.format,
        dataset.container,
        dataset.recipe,
        dataset.options,
        by,
        filters=dataset.filters,
        dataset=dataset,
    )


def _create(project: Project, name: str, format: str, choices: Mapping[str, Any], by: User | None) -> Dataset:
    if not name.strip():
        raise StepRefused(_("Give the data set a name."))
    try:
        with transaction.atomic():
            return Dataset.objects.create(project=project, name=name.strip(), format=format, created_by=by, **choices)
    except IntegrityError:
        raise StepRefused(_("This project has a data set of that name already; choose another.")) from None
