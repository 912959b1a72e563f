"""The tests; ``python -m tests`` runs them and every other check.

Imported before the package, whose functions are the first that a forked child runs.
"""

import os
import re
import sys

# What the descriptor of a slab leads to: a segment in blocks that are shorter. An empty one of each
# size class is kept.
SLAB = re.compile(r"/memfd:sharedarray-\w+-\w+-(\w+)-(?!\1\b)")


def free_locks_of_coverage() -> None:
    """Free the lock in a forked child whose parent's other thread held it: each call takes it.

    The same lock, not a new one: from coverage 7.17.5 on tracers keep its `acquire` and `release`.
    """
    module = sys.modules.get("coverage.collector")
    for collector in module.Collector._collectors if module is not None else ():
        if collector.data_lock is not None and collector.data_lock.locked():
            collector.data_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=free_locks_of_coverage)
