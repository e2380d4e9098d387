"""One object of every kind in a running stack, and sessions of people of every role: what its pages are visited with.

Addresses come from the role matrix, so a page that the matrix knows is visited without being named anywhere else.
"""

from __future__ import annotations

import json
from typing import Any

from tests.browser import inside


def build() -> dict[str, Any]:
    """{"pages": {name: [address, roles]}, "seats": {preset: address}, "empty": address, "sessions": {role: key},
    "users": {role: name}}; addresses of all GETs, whether they answer with a page or not."""
    from django.urls import reverse

    from annotator import protocols
    from tests.annotator.test_access import MATRIX, MEMBERS, World

    world = World()
    world.upload = _upload(world.project)
    pages = {
        name: (reverse(name, args=url.args(world)), sorted(url.get & MEMBERS))
        for name, url in MATRIX.items()
        if url.get
    }
    roles = sorted(MEMBERS)
    users = {role: world.users[role].username for role in roles}
    sessions = dict(zip(roles, inside.sessions(list(users.values())), strict=True))
    seats = {preset: reverse("annotate", args=[_seat(preset, world.users)]) for preset in protocols.PRESETS}
    empty = reverse("annotate", args=[_project("plain", world.users).pk])
    return {"pages": pages, "seats": seats, "empty": empty, "sessions": sessions, "users": users}


def _upload(project: Any) -> str:
    from django.core import signing
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    row = {"prompt": "What is rain?", "response_a": "Water.", "response_b": "Drops that fall.", "model_a": "m1"}
    name = default_storage.save("uploads/world.jsonl", ContentFile(json.dumps(row).encode() + b"\n"))
    stored = {"name": name, "filename": "world.jsonl", "source": ""}
    return signing.dumps(stored, salt=f"annotator.imports.{project.pk}")


def _project(preset: str, users: dict[str, Any]) -> Any:
    from annotator.models import Membership
    from tests.builders import make_project

    project = make_project(preset, name=f"Preset {preset}", guidelines="# What counts\n\n- Truth before *style*.\n")
    for role, user in users.items():
        Membership.objects.create(project=project, user=user, role=role)
    return project


TEXT = """The **boiling point** of water falls by about 1 °C for every 300 m of height.

| height | boils at |
|---|---|
| 0 m | 100 °C |
| 3000 m | 90 °C |

```python
def boils_at(height: float) -> float:
    return 100 - height / 300  # a rule of thumb
```

So $T = 100 - h/300$, and pasta takes longer.
"""


def _seat(preset: str, users: dict[str, Any]) -> int:
    """A project of this preset with two comparisons that hold what a protocol can ask about."""
    from annotator import protocols
    from tests.builders import make_comparison

    project = _project(preset, users)
    turns = [
        {"role": "user", "content": "At what temperature does water boil?"},
        {"role": "assistant", "content": "At sea level at 100 °C."},
        {"role": "user", "content": "And on a mountain?"},
    ]
    for number in range(2):
        made = make_comparison(
            project, turns, a=TEXT, b=f"لا يتغير كثيرا. It stays the same. {number}", places_open=4, votes_wanted=4
        )
        made.prompt.context = [
            {"title": "Boiling", "text": "Water boils at a lower temperature where the air is thin."}
        ]
        made.prompt.save()
        made.criterion = "Which would help a cook more?"
        made.save()
        if protocols.PRESETS[preset].get("ranking", "none") != "none":
            _candidates(made)
    return project.pk


def _candidates(comparison: Any) -> None:
    """Two more responses, for protocols that rank."""
    from annotator.models import Candidate, Response

    for place in (2, 3):
        text = f"Response number {place}: it boils earlier."
        response = Response.objects.create(
            prompt=comparison.prompt, external_id=f"x{place}", text=text, model=f"m{place}", text_hash=text
        )
        Candidate.objects.create(comparison=comparison, response=response, place=place)
    comparison.candidates_count = 2
    comparison.save()
