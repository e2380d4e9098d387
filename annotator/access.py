"""Every object is found from the user's own projects; what is not theirs does not exist (404)."""

from __future__ import annotations

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from annotator.models import Project, Rater, Role

# Who may do what. A site administrator has no project role by itself.
LEADS = (Role.LEAD,)
READERS = (Role.LEAD, Role.REVIEWER, Role.VIEWER)
REVIEWERS = (Role.LEAD, Role.REVIEWER)
ANNOTATORS = (Role.LEAD, Role.REVIEWER, Role.ANNOTATOR)
MEMBERS = tuple(Role)


def project_or_404(request: HttpRequest, project_id: int, roles: tuple[str, ...]) -> Project:
    """The project, when the logged-in user has one of `roles` in it; 404 otherwise."""
    return get_object_or_404(Project.objects.of(request.user, *roles), pk=project_id)  # type: ignore[arg-type]


def rater_of(request: HttpRequest, project: Project) -> Rater:
    """The person's rater row in this project, made at their first visit."""
    rater, _created = Rater.objects.get_or_create(
        project=project,
        user=request.user,  # type: ignore[misc]
        defaults={"kind": Rater.Kind.PERSON},
    )
    return rater


def leads(request: HttpRequest, project: Project) -> bool:
    """Whether the logged-in user is a lead of this project."""
    return Project.objects.of(request.user, *LEADS).filter(pk=project.pk).exists()  # type: ignore[arg-type]
