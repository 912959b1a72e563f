"""The words of the code: one for each thing, and each known to a reader from the field."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_architecture import Module, project

ROOT = Path(__file__).resolve().parent.parent
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
# Words of other trades, or of our own, that once stood for something that has a name.
STRANGE = {
    "attend", "away", "born", "errand", "far", "flight", "flying", "glance", "hire", "hired",
    "job", "kin", "landed", "launched", "lifeline", "master", "meeting", "nproc", "off", "parcel",
    "region", "seam", "slave",
}  # fmt: skip
KNOWN = {"master"}  # `p.master`, a construct of OpenMP


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of what a module defines and uses."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case _:
                pass


def words(name: str) -> list[str]:
    """Return the words that a name is made of, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def strange(module: Module) -> Iterator[str]:
    if STRANGE & {*words(module.name)}:
        yield f"the name of {module.name}"
    for line, name in identifiers(module.tree):
        if name not in KNOWN and STRANGE & {*words(name)}:
            yield f"{module.name}:{line} {name}"


def test_names_are_words_of_the_field():
    assert [complaint for module in project() for complaint in strange(module)] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("x", "errand = 1"),
        ("x", "def see_off(): ..."),
        ("x", "class FarMap: ..."),
        ("x", "a.job"),
        ("meeting", ""),
    ],
)
def test_strange_words_are_found(name, source):
    assert [*strange(Module(f"sharedarray.{name}", source))]


def test_other_words_are_let_pass():
    source = "chunk = offset = sparse = is_farther = p.master"
    assert [*strange(Module("sharedarray.x", source))] == []


def test_each_word_of_the_list_is_used():
    table = CONTRIBUTING.partition("## Words\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| (\w+) \|", table, re.MULTILINE)[1:]
    names = {name for module in project() for _, name in identifiers(module.tree)}
    used = {word for name in names for word in words(name)}
    assert len(listed) >= 11
    assert {word for word in listed if not {word, f"{word}s"} & used} == set()
