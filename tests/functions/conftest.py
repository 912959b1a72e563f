import pytest

from tests.functions.support import small_arrays


@pytest.fixture
def small():
    with small_arrays() as patch:
        yield patch
