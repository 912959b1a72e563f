"""Fault table A: workers that die at random, in map after map."""

from __future__ import annotations

import pytest

from tests.workers.faults.scripts import WATCHES, run_fault

# Each of these happens at random items; what has not met with one has to give the right answer.
CHAOS = """
import collections, contextlib, random

def some_worker():
    return random.choice(sorted(children(os.getppid())))

def kill_some_worker():
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(some_worker(), signal.SIGKILL)

def exit_within_critical():
    with pool.critical:
        os._exit(1)

def die_in_turn():
    with pool.ordered:
        os.kill(os.getpid(), signal.SIGSEGV)

def fail():
    raise ValueError("by chance")

def become_another_program():
    os.execv("/bin/true", ["true"])

class KillAtPickle:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

# `kill_some_worker` most often, since it is the one that strikes others at any moment.
FAULTS = [
    *5 * [kill_some_worker], exit_within_critical, die_in_turn, fail, become_another_program,
    KillAtPickle, lambda: os._exit(0),
]

def work(i):
    random.seed(f"{seed} {round} {i}")
    is_struck = i in struck
    if kind == "critical":
        with pool.critical:
            counter[0] += 1
    if is_struck and (result := random.choice(FAULTS)()) is not None:
        return result
    if kind == "ordered" and not is_struck:
        with pool.ordered:
            counter[0] += 1
    return np.full(100_000, i) if kind == "large" else i

import faulthandler
faulthandler.disable()
counter = sharedarray.zeros(1, int)
outcomes = collections.Counter()
with clean():
    for round in range(n_rounds):
        random.seed(f"{seed} {round}")
        kind = random.choice(["small", "small", "large", "critical", "ordered"])
        n_items = random.choice([1, 7, 50, 300] if kind != "large" else [1, 7, 20])
        struck = random.choices(range(n_items), k=random.choice([1, 1, 3])) \\
            if random.random() < 0.3 else []
        pool = MapReduce(np=random.choice([1, 2, 3, 5]))
        chunksize = random.choice([None, 1, 10])
        items = random.choice([range, lambda n: iter(range(n))])(n_items)
        counter[0], results = 0, None
        began = time.monotonic()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                if random.random() < 0.2:
                    results = list(pool.imap(work, items, chunksize=chunksize))
                else:
                    results = pool.map(work, items, chunksize=chunksize)
            except WorkerException as error:
                outcome = type(error).__name__
                assert struck, f"nothing has happened in round {round} ({kind}): {error}"
                if outcome == "WorkerException":
                    assert type(error.reason) is ValueError, error
        check_fast(began, within=5)
        if results is not None:
            outcome = "right"
            if kind == "large":
                assert all((result == result[0]).all() for result in results)
                results = [int(result[0]) for result in results]
            assert results == list(range(n_items)), f"round {round} ({kind})"
            if kind in ("critical", "ordered") and not struck:
                assert counter[0] == n_items
        for warning in caught:
            assert struck
            assert warning.category is RuntimeWarning, warning
            assert results is not None, warning
        outcomes[outcome] += 1
assert set(outcomes) == {"right", "WorkerDied", "WorkerException"}, outcomes
assert outcomes["right"] > n_rounds / 2, outcomes
check_reuse(pool)
"""


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("watch", WATCHES)
def test_each_map_gives_the_right_answer_or_an_exception(tmp_path, watch, seed):
    run_fault(CHAOS, tmp_path, watch=watch, seed=seed, n_rounds=150)
