"""Ctrl-C, and the limit of descriptors, at every place of a block where they can come."""

from __future__ import annotations

import errno
import os

import pytest

from tests.workers.faults.interrupter import run_everywhere
from tests.workers.faults.scripts import run_fault
from tests.workers.support import run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

BLOCK = """
from sharedarray.errors import ParallelException
from sharedarray.openmp.parallel import Parallel, Reduction

def run_block(n_ranks):
    with Parallel(Reduction(np.add, total=0), num_threads=n_ranks) as p:
        for i in p.forloop(4, schedule="dynamic"):
            p.var.total += i
        for i, ordered in p.forloop(2, schedule=("static", 1), ordered=True):
            with ordered:
                pass
        with p.critical:
            pass
    assert p.var.total == 6
"""


@pytest.mark.parametrize("surroundings", ["alone", "beside another thread"])
def test_an_interrupt_leaves_nothing(tmp_path, surroundings):
    source = """
from sharedarray.openmp import blockcrews, counters, directives, parallel, rank, team

MODULES = (
    blockcrews, counters, directives, parallel, rank, team, primitives, process, processes
)
FILES = {module.__file__ for module in MODULES}
run_block(2)
gc.collect()
n_descriptors = open_descriptors()

n_sent = at_every_place(lambda: run_block(2))
assert n_sent > 200, n_sent
run_block(3)
"""
    run_everywhere(surroundings, BLOCK + source, tmp_path)


@pytest.mark.parametrize("surroundings", ["alone", "beside another thread"])
def test_an_interrupt_does_not_keep_threads_waiting(tmp_path, surroundings):
    source = """
import contextlib
from sharedarray.workers import primitives
from sharedarray.openmp import blockcrews, directives, parallel, rank, team

MODULES = blockcrews, contextlib, directives, parallel, primitives, rank, team, threading
FILES = {module.__file__ for module in MODULES}

def body(p):
    for _ in range(2):
        with p.critical:
            pass
    p.barrier()

def run_threads():
    Parallel(num_threads=2, backend="thread").run(body)

n_sent = at_every_place(run_threads)
assert n_sent > 100, n_sent
"""
    run_everywhere(surroundings, BLOCK + source, tmp_path)


def test_an_interrupt_leaves_the_caller_its_cores_and_threads(tmp_path):
    source = """
import types
from sharedarray import config
from sharedarray.workers import blas
from sharedarray.openmp import blockcrews

class Pools:
    n_threads = 64

    def limit(self, *, limits):
        return Limit(limits)

class Limit:
    def __init__(self, limits):
        self.before, Pools.n_threads = Pools.n_threads, limits

    def restore_original_limits(self):
        Pools.n_threads = self.before

sys.modules["threadpoolctl"] = types.SimpleNamespace(ThreadpoolController=Pools)
blas._threadpoolctl.cache_clear()
sharedarray.set_num_workers(8)
FILES = {blas.__file__, config.__file__, blockcrews.__file__}
check_what_is_left = check
places = set()

def check(where):
    places.add(where.partition(",")[0])
    check_what_is_left(where)
    assert Pools.n_threads == 64, where
    assert sharedarray.cpu_count() == 8, where

seen = []
with Parallel(num_threads=2) as p:
    seen += Pools.n_threads, sharedarray.cpu_count()
assert seen == [4, 4], seen
gc.collect()
n_descriptors = open_descriptors()
at_every_place(lambda: run_block(2))
assert places >= {"limited_threads", "_limit", "num_workers", "BlockCrew.fork"}, places
"""
    run_everywhere("alone", BLOCK + source, tmp_path)


def test_an_interrupt_leaves_a_decorated_function_callable(tmp_path):
    source = """
from sharedarray.openmp import parallel
from sharedarray.openmp import blockcrews

FILES = {parallel.__file__, blockcrews.__file__}

@Parallel(num_threads=2)
def block(p):
    p.barrier()

block()
gc.collect()
n_descriptors = open_descriptors()
assert at_every_place(block) > 30
block()
"""
    run_everywhere("alone", BLOCK + source, tmp_path)


def test_a_block_that_is_never_left_ends_with_the_program(tmp_path):
    source = """
import atexit
from sharedarray import Parallel

atexit.register(os.write, 1, b"the end of the caller\\n")
p = Parallel(num_threads=3)
p.__enter__()
"""
    assert run_script(source, tmp_path) == "the end of the caller\n"


def test_limit_of_descriptors_at_any_of_them(tmp_path):
    source = """
import resource

def n_used():
    # The next free number, since the limit is one of numbers.
    number = os.dup(0)
    os.close(number)
    return number

run_block(3)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for room in range(60):
    with clean():
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_used() + room, hard))
        try:
            run_block(3)
            failure = None
        except OSError as error:
            failure = error.errno
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if failure is None:
        break
    assert failure == number, failure
    run_block(3)
assert 20 < room < 59, room  # descriptors of a block of three ranks
"""
    run_fault(BLOCK + source, tmp_path, number=errno.EMFILE)


def test_a_block_that_is_dropped_as_garbage_ends_its_ranks(tmp_path):
    """The garbage collector may finalize parts of a cycle first: here, the sentinels."""
    source = """
import gc, signal
from sharedarray import Parallel
from tests.workers.faults.harness import *

gc.disable()
for _ in range(5):
    p = Parallel(num_threads=3)
    p.__enter__()
    if p.rank:
        signal.pause()
    for member in p._crew._members:
        member.process._sentinels[0].close()
    p.cycle = [p]
    del p, member
    gc.collect()
    assert not children()
"""
    run_script(source, tmp_path, limit=35)
