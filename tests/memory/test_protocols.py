"""What NumPy would warn of is logged in the caller's settings, which come back."""

import numpy as np
import pytest

from sharedarray.memory import protocols
from sharedarray.memory.protocols import Flags


@pytest.mark.parametrize("has_settings", [protocols._HAS_SETTINGS, False])
@pytest.mark.parametrize("outer", ["ignore", "warn", "raise", "call"])
def test_logging_is_that_of_errstate_and_ends(monkeypatch, has_settings, outer):
    monkeypatch.setattr(protocols, "_HAS_SETTINGS", has_settings)
    called = lambda *_: None  # noqa: E731 - the settings hold the very object
    with np.errstate(all=outer, call=called):
        before = np.geterr()
        expected, found = Flags(), Flags()
        with np.errstate(all="log", call=expected):
            np.divide([1.0, 0.0], 0.0)
        begun = protocols.begin_logging(found)
        assert (np.geterr(), np.geterrcall()) == (dict.fromkeys(before, "log"), found)
        np.divide([1.0, 0.0], 0.0)
        protocols.end_logging(begun)
        assert (np.geterr(), np.geterrcall()) == (before, called)
    assert found == expected
    assert len(found) == 2


def test_numpy_has_the_quick_settings():
    assert protocols._HAS_SETTINGS
