"""The tests; ``python -m tests`` runs them and every other check.

Imported before the package, whose functions are the first that a forked child runs.
"""

import os
import sys
import threading


def renew_locks_of_coverage() -> None:
    """Let a child go on where a thread of its parent had this lock: it is taken at every call."""
    module = sys.modules.get("coverage.collector")
    for collector in module.Collector._collectors if module is not None else ():
        if collector.data_lock is not None:
            collector.data_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew_locks_of_coverage)
