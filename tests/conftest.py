import gc
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import translation


def pytest_collection():
    """Thousands of tests are made and none is garbage: a third of the time of collecting them went into looking."""
    gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def static_folder():
    """Whatever serves a page warns when it is missing, and nobody has run `collectstatic` here."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


@pytest.fixture(scope="session", autouse=True)
def cheap_settings():
    """Once for all tests, and before whatever a module makes for its own: a change of settings takes milliseconds.

    Pages are rendered without `collectstatic`: no manifest, same addresses. PBKDF2 takes a third of a second a user,
    by design; no test is about that.
    """
    static = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(
        STORAGES={**settings.STORAGES, "staticfiles": static},
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ):
        yield


@pytest.fixture(autouse=True)
def language():
    """A page in another language leaves it set in the thread that served it, here the one of all tests."""
    yield
    translation.deactivate()
