"""A test of the workers that hangs fails within its limit, and shows where every thread is."""

from __future__ import annotations

import sys
import threading
import traceback

import pytest

from sharedarray import config
from tests.workers.support import POOLS, THREADED, make_pool

LIMIT = 40  # seconds, longer than what a script may take


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
    yield
    config.set_debug(False)
    config.set_num_workers(None)


@pytest.fixture(params=POOLS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def pool(request):
    """Every kind of pool."""
    return make_pool(request.param)


@pytest.fixture(params=THREADED, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def threaded(request):
    """Every pool that has workers beside the caller."""
    return make_pool(request.param)


@pytest.fixture
def restless():
    """Let threads change places as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
