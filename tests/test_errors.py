from __future__ import annotations

import copy
import pickle

import pytest

from sharedarray.errors import SharedArrayUnpickleError, WorkerException


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_worker_exception_keeps_reason_and_traceback():
    reason = ValueError("no such star")
    error = WorkerException(reason, "Traceback ...\n")

    assert error.reason is reason
    assert error.traceback == "Traceback ...\n"


def test_worker_exception_says_type_text_and_traceback():
    text = str(WorkerException(KeyError("mass"), "  File 'stars.py', line 7\n"))

    assert text == "KeyError: 'mass'\n\nTraceback of the worker:\n  File 'stars.py', line 7"


@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_worker_exception_survives_copy_and_pickle(again):
    error = again(WorkerException(ValueError("bad", 3), "frames"))

    assert type(error) is WorkerException
    assert type(error.reason) is ValueError
    assert error.reason.args == ("bad", 3)
    assert error.traceback == "frames"
    assert str(error) == str(WorkerException(ValueError("bad", 3), "frames"))


def test_worker_exception_holds_out_against_a_reason_without_words():
    assert "UnprintableError" in str(WorkerException(UnprintableError(), "frames"))


def test_unpickle_error_is_caught_by_who_expects_pickles_own():
    with pytest.raises(pickle.UnpicklingError, match=r"np\.asarray"):
        raise SharedArrayUnpickleError("send np.asarray(a)")
