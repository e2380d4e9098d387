"""What a page or mail about a broken request leaves out."""

from __future__ import annotations

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class AlwaysDiscreet(SafeExceptionReporterFilter):
    """Hides what views mark as sensitive in debug pages too, where Django shows everything."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True
