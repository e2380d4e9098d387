import pytest

from tests.labelers import judge_server


@pytest.fixture(scope="session")
def one_server():
    pytest.importorskip("transformers", reason="the judge server needs torch and transformers (MODELS=no)")
    return judge_server.start()


@pytest.fixture
def server(one_server):
    one_server.reset()
    return one_server
