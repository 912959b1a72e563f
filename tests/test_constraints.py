"""The exact releases that the tests run with: complete, allowed by pyproject.toml, not outdated."""

from __future__ import annotations

import importlib.metadata
import tomllib
import warnings
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent


def constraints(text):
    """Return the release of each package."""
    pinned = (Requirement(line) for line in text.splitlines())
    return {canonicalize_name(r.name): Version(str(r.specifier)[2:]) for r in pinned}


def newer_than(pinned, release_of):
    """Yield what to say of each package that is installed in a newer release."""
    for name, release in pinned.items():
        try:
            installed = Version(release_of(name))
        except importlib.metadata.PackageNotFoundError:  # another Python needs other packages
            continue
        if installed > release:
            yield f"{name} {installed} is newer than {release}, which the tests have passed with"


PINNED = constraints((ROOT / ".ci/constraints.txt").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.filterwarnings("default:.* is newer than:UserWarning")
def test_newer_releases_are_told_of():
    for text in newer_than(PINNED, importlib.metadata.version):
        warnings.warn(text, stacklevel=1)


def test_a_newer_release_is_found():
    releases = {"aster": "1.10", "bellis": "2.0"}
    pinned = constraints("aster==1.9\nbellis==2.0")
    assert [*newer_than(pinned, releases.get)] == [
        "aster 1.10 is newer than 1.9, which the tests have passed with"
    ]


@pytest.mark.parametrize(
    "text", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
)
def test_constraints_are_of_what_the_project_asks_for(text):
    asked = Requirement(text)
    assert PINNED[canonicalize_name(asked.name)] in asked.specifier
