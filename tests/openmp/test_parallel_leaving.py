"""Ranks leave a block at its end, by any path, or all at one other place."""

from __future__ import annotations

import textwrap
from contextlib import ExitStack, contextmanager, suppress

import pytest

from sharedarray.errors import ParallelException
from sharedarray.openmp.parallel import Parallel
from tests.openmp.blocks import SOON
from tests.workers.clock import within

# Bodies through which `odd` takes another path to the end of the block.
TO_THE_END = [
    "if odd: pass",
    "if odd: a = 1\nelse: a = 2",
    "if odd:\n    if n: a = 1\n    else: a = 2\nelif n: a = 3",
    "a = 1 if odd else 2",
    "assert odd or n",
    "for i in range(3):\n    if odd: break\nelse:\n    a = 1",
    "while True:\n    if odd: break\n    n -= 1\n    if not n: break",
    "for i in range(n):\n    if odd: continue\n    a = i",
    "try:\n    if odd: raise KeyError\nexcept KeyError: a = 1",
    "try:\n    if odd: raise KeyError\nexcept KeyError: pass\nelse: a = 1",
    "try:\n    if odd: raise KeyError\nexcept* KeyError: pass",
    "try: a = 1\nfinally:\n    if odd: a = 2",
    "try:\n    if odd: raise KeyError\nexcept KeyError as e: pass\nfinally: a = 2",
    "with suppress(KeyError):\n    if odd: raise KeyError",
    "with suppress(KeyError), suppress(ValueError):\n    a = 1\n    if odd: raise ValueError",
    "match odd:\n    case True: a = 1\n    case _: pass",
    "if not odd:\n    for i in range(n):\n        with suppress(KeyError):\n            a = i",
    "def f(): return odd\na = f()",
]
HEAD = "with Parallel(num_threads=3) as p:\n{body}"
AROUND = [
    f"def block():\n    {HEAD}",
    f"def block():\n    {HEAD}\n    return 0",
    f"def block():\n    for _ in range(2):\n        {HEAD}",
    f"def block():\n    while True:\n        {HEAD}\n        break",
    f"def block():\n    try:\n        {HEAD}\n    finally: n = 1",
    f"def block():\n    with suppress(OSError):\n        {HEAD}",
    "def block():\n    with suppress(OSError), Parallel(num_threads=3) as p, suppress(KeyError):\n"
    "{body}",
    f"def generator():\n    {HEAD}\n    yield 1\ndef block(): list(generator())",
    f"async def coroutine():\n    {HEAD}\ndef block():\n"
    "    with suppress(StopIteration): coroutine().send(None)",
]


def run(around, body):
    """Run a block with this body, in which n and odd, which is true in rank 1, are local names."""
    before = around.partition("\n{body}")[0].splitlines()[-1]
    indent = before[: len(before) - len(before.lstrip())] + "    "
    lines = textwrap.indent(f"n = 2\nodd = p.rank == 1\n{body}", indent)
    exec(f"{around.format(body=lines)}\nblock()", {"Parallel": Parallel, "suppress": suppress})


@pytest.mark.parametrize("around", AROUND)
def test_all_ways_to_the_end_are_one(around):
    for body in TO_THE_END:
        run(around, body)


@pytest.mark.parametrize("around", AROUND[2:4])
@pytest.mark.parametrize("how", ["return", "return n", "break", "continue"])
@pytest.mark.parametrize("who", ["odd", "p.master", "not odd"])
@pytest.mark.parametrize("last", ["", "a = 1"])
def test_another_way_out_is_an_error(around, how, who, last):
    with (
        within(SOON),
        pytest.raises(ParallelException, match="left the block by return") as caught,
    ):
        run(around, f"if {who}: {how}\n{last}")
    assert isinstance(caught.value.reason, RuntimeError)


@pytest.mark.parametrize("how", ["return", "break", "continue"])
def test_the_same_way_out_for_all_is_an_end(how):
    run(AROUND[2], f"if n: {how}")


def test_the_function_of_a_block_may_return_anywhere():
    def body(p):
        if p.rank == 1:
            return 1
        return 0

    assert Parallel(num_threads=2).run(body) == 0


class Subclass(Parallel):
    def __exit__(self, *exc_info):
        if self.rank:
            return super().__exit__(*exc_info)
        return super().__exit__(*exc_info)


def test_exits_in_between_are_passed_over():
    with Subclass(num_threads=2) as p:
        pass
    with ExitStack() as stack:
        stack.enter_context(p)
    with pytest.raises(ParallelException, match="left the block by return"):
        leave_early_through_a_stack(p)
    p.__enter__()
    list(map(p.__exit__, [None], [None], [None]))  # called by C


def leave_early_through_a_stack(p):
    with ExitStack() as stack:
        stack.enter_context(p)
        if p.rank:
            return
        p.num_threads  # noqa: B018 - a body


def test_context_managers_of_generators():
    @contextmanager
    def block():
        with Parallel(num_threads=2) as p:
            yield p

    with block() as p:
        assert p.num_threads == 2
    with pytest.raises(RuntimeError):
        p.rank  # noqa: B018 - it raises
