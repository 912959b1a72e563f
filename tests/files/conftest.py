"""What the tests of files need."""

from tests.functions.conftest import data, small

__all__ = ["data", "small"]
