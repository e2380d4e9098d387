import pytest

from tests.stack import Stack, open_folder


@pytest.fixture
def folder():
    """A directory that root's unprivileged PostgreSQL may enter; its name has a space."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def stack():
    with open_folder() as folder:
        running = Stack(folder)
        yield running.start()
        running.stop()
