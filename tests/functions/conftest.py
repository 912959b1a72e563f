import pytest

from tests.files.fromfile_support import DATA
from tests.functions.support import small_arrays


@pytest.fixture
def small():
    with small_arrays() as patch:
        yield patch


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path
