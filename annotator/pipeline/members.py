"""Who takes part in a project: add, invite, change a role, remove. A project always keeps a lead."""

from __future__ import annotations

from django.contrib.auth.hashers import make_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from annotator.models import Membership, Project, Role, User
from annotator.pipeline.work import StepRefused


def find(name: str) -> User | None:
    """The user with this user name, else the only one with this e-mail address."""
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None and "@" in name:
        found = list(User.objects.filter(email__iexact=name, is_active=True)[:2])
        user = found[0] if len(found) == 1 else None
    return user


def add(project: Project, user: User, role: str) -> Membership:
    """Make `user` a member with `role`; somebody who is one already gets the new role."""
    with transaction.atomic():
        membership, created = Membership.objects.get_or_create(project=project, user=user, defaults={"role": role})
        if created:
            _end_links(user)
    return membership if created else change_role(membership, role)


def invite(project: Project, name: str, role: str, *, display_name: str = "") -> tuple[User, Membership]:
    """A new user without a password, as a member. Raises StepRefused when the name is taken or cannot be one.

    The caller hands over the link with which the new user chooses a password.
    """
    if find(name) or User.objects.filter(Q(username=name) | Q(email__iexact=name)).exists():
        raise StepRefused(_("%(name)s has an account already: add them instead of inviting them.") % {"name": name})
    try:
        UnicodeUsernameValidator()(name)
    except ValidationError as error:
        raise StepRefused(str(error.messages[0])) from None
    try:
        with transaction.atomic():
            user = User.objects.create_user(name, email=name if "@" in name else "", display_name=display_name)
            user.set_unusable_password()
            user.save(update_fields=["password"])
            return user, add(project, user, role)
    except IntegrityError:
        raise StepRefused(_("%(name)s was invited by somebody else just now.") % {"name": name}) from None


def may_hand_over_link(lead: User, user: User) -> bool:
    """Whether `lead` may see a link that sets `user`'s password.

    Only before the first log-in, and only when every project of that user is led by `lead`: otherwise a lead could
    take over an account that works in somebody else's project.
    """
    if user.has_usable_password() or user.last_login or user.is_staff or user.is_superuser or not user.is_active:
        return False
    led = Project.objects.of(lead, Role.LEAD)
    return not user.memberships.exclude(project__in=led).exists()


def _end_links(user: User) -> None:
    """Links that set the password of an account nobody has claimed stop working.

    Whoever holds one could open it later and be that user in projects they do not lead. The token is made from the
    password's hash, so another unusable password ends it; a password that is chosen at this moment is left alone.
    """
    if user.has_usable_password() or user.last_login:
        return
    drawn = make_password(None)
    if User.objects.filter(pk=user.pk, password=user.password, last_login=None).update(password=drawn):
        user.password = drawn


def _end_links_of_lead(membership: Membership, role: str) -> None:
    """Who is no longer lead keeps no link to the project's unclaimed accounts."""
    if role == Role.LEAD or membership.role != Role.LEAD:
        return
    for user in User.objects.filter(memberships__project=membership.project_id, last_login=None):
        _end_links(user)


def change_role(membership: Membership, role: str) -> Membership:
    """Raises StepRefused when it would leave the project without a lead."""
    with transaction.atomic():
        _keep_a_lead(membership, role)
        Membership.objects.filter(pk=membership.pk).update(role=role)
        _end_links_of_lead(membership, role)
    membership.role = role
    return membership


def remove(membership: Membership) -> None:
    """End the membership; what the person judged stays. Raises StepRefused for the last lead."""
    with transaction.atomic():
        _keep_a_lead(membership, "")
        _end_links_of_lead(membership, "")
        Membership.objects.filter(pk=membership.pk).delete()


def _keep_a_lead(membership: Membership, role: str) -> None:
    """The project row is locked, so two leads who leave at once cannot both go; an import that points at it goes on."""
    if role == Role.LEAD:
        return
    Project.objects.select_for_update(no_key=True).get(pk=membership.project_id)
    others = Membership.objects.filter(project=membership.project_id, role=Role.LEAD).exclude(pk=membership.pk)
    is_lead = Membership.objects.filter(pk=membership.pk, role=Role.LEAD).exists()
    if is_lead and not others.exists():
        raise StepRefused(_("A project needs a lead: make somebody else lead first."))
