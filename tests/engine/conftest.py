import pytest

from tests.engine.reference import FAMILIES, build


@pytest.fixture(scope="session", params=list(FAMILIES))
def family(request):
    return build(request.param)


@pytest.fixture(scope="session")
def model():
    return build("llama-gqa-bias-tied")
