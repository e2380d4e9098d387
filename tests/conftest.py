import gc

import pytest
from django.utils import translation


def pytest_collection():
    """Thousands of tests are made and none is garbage: a third of the time of collecting them went into looking."""
    gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True)
def plain_static_files(settings):
    """Pages are rendered without `collectstatic`: no manifest, same addresses."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture(autouse=True)
def language():
    """A page in another language leaves it set in the thread that served it, here the one of all tests."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def quick_passwords(settings):
    """PBKDF2 takes a third of a second a user, by design; no test is about that."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
