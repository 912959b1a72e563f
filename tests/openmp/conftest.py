"""The fixtures of the tests of workers, for blocks too."""

from tests.workers.conftest import fork_calls, plain_settings, pytest_pyfunc_call, restless

__all__ = ["fork_calls", "plain_settings", "pytest_pyfunc_call", "restless"]
