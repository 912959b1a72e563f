"""Ctrl-C at every place of our code where Python looks for it: what scripts need for that."""

from __future__ import annotations

from tests.workers.support import run_script

# A blocked signal goes to a thread that does not block it, and what its handler raises comes out
# in the main thread all the same. OpenBLAS and others have such threads, unknown to Python.
SURROUNDINGS = {
    "alone": """
def send():
    signal.raise_signal(signal.SIGINT)
""",
    "beside another thread": """
import select
from sharedarray import ForkInThreadsWarning
warnings.simplefilter("ignore", ForkInThreadsWarning)
threading.Thread(target=threading.Event().wait, daemon=True).start()

read, write = os.pipe()
for end in read, write:
    os.set_blocking(end, False)
signal.set_wakeup_fd(write, warn_on_full_buffer=False)

def send():
    try:
        os.read(read, 100)
    except BlockingIOError:
        pass
    os.kill(os.getpid(), signal.SIGINT)
    select.select([read], [], [], 5)  # until a thread, whichever, has got it
""",
}

EVERYWHERE = """
import dis, gc
from collections import Counter
from sharedarray import forks
from sharedarray.workers import constructs, interrupts, mapcall, mapreduce, primitives, process
from sharedarray.workers import processes, transport

MODULES = (forks, constructs, mapcall, mapreduce, primitives, process, processes, interrupts,
           transport)
FILES = {module.__file__ for module in MODULES}
# Where Python looks for signals: after calls, at the begin of functions and of rounds.
BOUNDARIES = {number for name, number in dis.opmap.items()
              if name.startswith(("CALL", "RESUME", "JUMP_BACKWARD"))}

# From Python 3.13 on a function shows its opcodes only if its call before did. Those that clean up
# after an interrupt do not: all have to, before each run.
is_forgetful = sys.version_info >= (3, 13)
coordinator = os.getpid()

class Interrupter:
    # Sends SIGINT at one place of one of the calls that are made in these modules.
    def __init__(self, call, place):
        self.n_calls, self.n_places = call, place
        self.has_called = self.has_sent = False
        self.last, self.function, self.where = 0, "", ""

    def trace(self, frame, event, arg):
        if os.getpid() != coordinator:
            sys.settrace(None)
        if frame.f_code.co_filename not in FILES or os.getpid() != coordinator:
            return None
        self.n_calls -= 1
        if self.n_calls:
            return show_opcodes(frame, event, arg) if is_forgetful else None
        self.has_called = True
        self.function = frame.f_code.co_qualname
        frame.f_trace_opcodes = True
        return self.trace_places

    def trace_places(self, frame, event, arg):
        if event == "opcode":
            self.n_places -= frame.f_code.co_code[self.last] in BOUNDARIES
            self.last = frame.f_lasti
            if not self.n_places:
                self.has_sent = True
                self.where = f"{self.function}, line {frame.f_lineno}"
                sys.settrace(None)
                send()
        return self.trace_places

def show_opcodes(frame, event, arg):
    if os.getpid() == coordinator and frame.f_code.co_filename in FILES:
        frame.f_trace_opcodes = True
        return show_opcodes

def at_every_place(run):
    # Calls `run`, each time with an interrupt at another place; returns how many there were.
    call, place, n_sent, n_in_vain = 1, 0, 0, 0
    n_done = Counter()
    while n_in_vain < 5:  # beyond the last call, in whatever order the workers come
        place += 1
        interrupter = interrupted(run, call, place)
        function = interrupter.function
        n_sent += interrupter.has_sent
        # Beyond its last place, or known enough.
        if not interrupter.has_sent or n_done[function] == (1 if is_forgetful else 2):
            n_done[function] += not interrupter.has_sent
            call, place = call + 1, 0
            n_in_vain = 0 if interrupter.has_called else n_in_vain + 1
    return n_sent

def interrupted(run, call, place):
    interrupter = Interrupter(call, place)
    if is_forgetful:
        sys.settrace(show_opcodes)
        run()
    sys.settrace(interrupter.trace)
    try:
        run()
    except KeyboardInterrupt:
        assert interrupter.has_sent
    finally:
        sys.settrace(None)
    check(interrupter.where)  # it works again, or the next run will fail
    return interrupter

def open_descriptors():
    return len(os.listdir("/proc/self/fd"))

def check(where):
    if children() or open_descriptors() != n_descriptors:
        gc.collect()
    assert not children(), f"a child is left: {where}"
    assert open_descriptors() == n_descriptors, f"a descriptor is left: {where}"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []), f"signals are blocked: {where}"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, where

warnings.simplefilter("ignore", ResourceWarning)  # of sockets: descriptors are counted
pool = MapReduce(np=2)
pool.map(abs, range(9))
gc.collect()
n_descriptors = open_descriptors()
"""


def run_everywhere(surroundings, source, tmp_path):
    # Hundreds of maps: longer than what other faults take, 20 seconds on a busy machine.
    harness = "from tests.workers.faults.harness import *\n"
    run_script(harness + SURROUNDINGS[surroundings] + EVERYWHERE + source, tmp_path, limit=80)
