from sharedarray import forks
from tests.memory.support import in_child, run_python


def test_tree_token_is_inherited_and_process_token_is_not():
    tree, process = in_child(lambda: (forks.TREE_TOKEN, forks.process_token()))
    assert tree == forks.TREE_TOKEN
    assert process != forks.process_token()


def test_tree_token_differs_between_programs():
    code = "from sharedarray import forks; print(forks.TREE_TOKEN.hex(), forks.process_token())"
    assert len({*run_python(code).split(), *run_python(code).split()}) == 4


def test_siblings_and_grandchildren_have_tokens_of_their_own():
    def child():
        return forks.process_token(), in_child(forks.process_token)

    tokens = {forks.process_token(), *in_child(child), *in_child(child)}
    assert len(tokens) == 5


def test_generation_changes_in_parent_and_child():
    before = forks.generation()
    assert forks.unseen_since(before)
    inherited = in_child(lambda: (forks.unseen_since(before), forks.generation()))
    assert inherited[0] is False
    assert inherited[1] != before
    assert not forks.unseen_since(before)
    assert forks.unseen_since(forks.generation())


def test_no_span_counts_as_unforked_while_a_fork_is_under_way():
    # The first hook is registered before the module's, so it runs after it.
    code = """
import os
seen = []
os.register_at_fork(before=lambda: seen.append(forks.unseen_since(forks.generation())))
from sharedarray import forks
pid = os.fork()
if not pid:
    os._exit(seen != [False] or not forks.unseen_since(forks.generation()))
print(seen, os.waitpid(pid, 0)[1], forks.unseen_since(forks.generation()))
"""
    assert run_python(code).strip() == "[False] 0 True"


def test_failed_fork_leaves_nothing_under_way():
    # What os.fork does when the kernel refuses: both hooks of the parent run.
    forks._before()
    forks._after_in_parent()
    assert forks.unseen_since(forks.generation())


def test_hooks_run_in_order():
    code = """
import os
from sharedarray import forks
log = []
forks.on_fork(before=lambda: log.append("before 1"), in_child=lambda: log.append("child 1"))
forks.on_fork(before=lambda: log.append("before 2"))
forks.on_fork(in_child=lambda: log.append(("child 2", forks.process_token() != old)))
old = forks.process_token()
pid = os.fork()
if not pid:
    os._exit(log != ["before 2", "before 1", "child 1", ("child 2", True)])
print(log, os.waitpid(pid, 0)[1])
"""
    assert run_python(code).strip() == "['before 2', 'before 1'] 0"


def test_imports_and_works_where_there_is_no_fork():
    code = """
import os
del os.register_at_fork, os.fork
from sharedarray import forks
forks.on_fork(before=print, in_child=print)
print(forks.unseen_since(forks.generation()))
"""
    assert run_python(code).strip() == "True"
