"""Whether the kernel makes huge pages of shared memory on request."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from sharedarray import config, machine


@pytest.mark.parametrize(
    ("release", "setting", "collapses"),
    [
        ("6.1.0-13-amd64", "never", True),
        ("6.18.44", "never", True),
        ("10.0", "advise", True),
        ("6.0.19", "never", False),
        ("5.15.0", "advise", False),
        ("6.18.44", "deny", False),
        ("unheard-of", "never", False),
    ],
)
def test_huge_pages_on_request(monkeypatch, tmp_path, release, setting, collapses):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    chosen = tmp_path / "shmem_enabled"
    chosen.write_text(f"always [{setting}] force\n")
    monkeypatch.setattr(machine, "SHMEM_HUGE_PAGES", str(chosen))
    assert machine.collapses() is collapses
    cost = config.config_facts().get("huge pages cost", "")
    assert ("other code" in cost) is (collapses and setting == "never")
