"""A test of the workers that hangs fails within its limit, and shows where every thread is."""

from __future__ import annotations

import os
import sys
import threading
import traceback
import warnings

import pytest

from sharedarray import ForkInThreadsWarning, config
from tests.workers.support import FORKED, PARALLEL, POOLS, SHARING, THREADED, make_pool

LIMIT = 100  # seconds, longer than what a script may take


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run the test in a thread of its own: what hangs there can be left behind."""
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    outcome = []

    def run():
        try:
            pyfuncitem.obj(**arguments)
        except BaseException as error:  # skip, fail and exit of pytest as well
            outcome.append(error)

    thread = threading.Thread(target=run, name=f"test {pyfuncitem.name}", daemon=True)
    thread.start()
    thread.join(LIMIT)
    if thread.is_alive():
        pytest.fail(f"the test hangs:\n{stacks()}", pytrace=False)
    if outcome:
        raise outcome.pop()
    return True


def stacks():
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"{names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )


@pytest.fixture(autouse=True)
def plain_settings(monkeypatch):
    for name in config.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    with warnings.catch_warnings():
        # A test runs beside the main thread, see above, which holds no lock.
        warnings.simplefilter("ignore", ForkInThreadsWarning)
        yield
    config.set_debug(False)
    config.set_num_workers(None)


def pools_of(kinds):
    def make(request):
        return make_pool(request.param)

    return pytest.fixture(make, params=kinds, ids=lambda kind: f"{kind[0]}-{kind[1]}")


pool = pools_of(POOLS)  # every kind
sharing = pools_of(SHARING)  # whose workers share the objects of the test
parallel = pools_of(PARALLEL)  # with workers beside the caller
threaded = pools_of(THREADED)
forked = pools_of(FORKED)


@pytest.fixture
def fork_calls(monkeypatch):
    """What grows by one whenever this process forks."""
    calls = []
    fork = os.fork

    def note():
        calls.append(os.getpid())
        return fork()

    monkeypatch.setattr(os, "fork", note)
    return calls


@pytest.fixture
def restless():
    """Let threads change places as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
