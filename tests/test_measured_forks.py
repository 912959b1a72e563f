"""A child that is forked while coverage measures another thread of its parent goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = """
import os
from coverage.collector import Collector

(collector,) = Collector._collectors
# As if another thread had it at the fork: first of all in the child, before `tests` renews it.
os.register_at_fork(after_in_child=lambda: collector.data_lock.acquire())
import tests
from sharedarray import background

call = background(abs, -3)
try:
    print(call.wait(30))
finally:
    call.cancel()  # a child that waits for the lock knows of no end of its parent
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_a_child_does_not_wait_for_the_lock_of_coverage(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = ("coverage", "run", "--source=sharedarray", "--concurrency=thread")
    done = subprocess.run(
        [sys.executable, "-m", *run, f"--data-file={tmp_path / 'data'}", str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("3\n", 0), done.stderr
