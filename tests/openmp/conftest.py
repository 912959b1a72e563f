"""What holds for the tests of the workers holds here."""

from tests.workers.conftest import fork_calls, plain_settings, pytest_pyfunc_call, restless

__all__ = ["fork_calls", "plain_settings", "pytest_pyfunc_call", "restless"]
