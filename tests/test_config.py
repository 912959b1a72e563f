from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from sharedarray import config, machine

UNLIMITED_V1 = "9223372036854771712"


@pytest.fixture(autouse=True)
def plain_settings(monkeypatch):
    """No variable set, nothing set by call, nothing remembered."""
    for name in config.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    machine._cgroup_cpus.cache_clear()
    yield
    config.set_num_workers(None)
    config.set_debug(False)
    machine._cgroup_cpus.cache_clear()


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """Let `machine` read files below a folder; returns what writes one there."""
    monkeypatch.setattr(machine, "CGROUP_OF_PROCESS", tmp_path / "proc/self/cgroup")
    monkeypatch.setattr(machine, "CGROUP_ROOT", tmp_path / "sys/fs/cgroup")
    monkeypatch.setattr(machine, "SHMEM_HUGE_PAGES", tmp_path / "sys/shmem_enabled")
    monkeypatch.setattr(machine, "MAX_MAP_COUNT", tmp_path / "proc/sys/vm/max_map_count")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)

    def write(name: str, text: str) -> None:
        path: Path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    return write


# the order of the sources


def test_each_source_wins_over_those_after_it(monkeypatch, kernel):
    expected = (16, "CPU affinity")
    for count, name in enumerate(reversed(config.ENVIRONMENT), 2):
        assert config.worker_count_source() == expected
        monkeypatch.setenv(name, str(count))
        expected = (count, name)
    assert config.worker_count_source() == expected

    config.set_num_workers(9)
    assert config.worker_count_source() == (9, "set_num_workers")
    with config.num_workers(10):
        assert config.worker_count_source() == (10, "num_workers")
        assert config.worker_count_source(11) == (11, "argument")
    assert config.cpu_count() == config.get_num_workers() == 9


@pytest.mark.parametrize(
    ("name", "value", "count"),
    [
        ("OMP_NUM_THREADS", "4,2", 4),
        ("OMP_NUM_THREADS", " 3 , 2 ", 3),
        ("SHAREDARRAY_NUM_WORKERS", " 5\n", 5),
        ("SLURM_CPUS_PER_TASK", "6", 6),
        ("PBS_NUM_PPN", "7", 7),
    ],
)
def test_environment_value(monkeypatch, name, value, count):
    monkeypatch.setenv(name, value)

    assert config.worker_count_source() == (count, name)


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_variable_counts_as_unset(monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    monkeypatch.setenv("PBS_NUM_PPN", "3")

    assert config.worker_count_source() == (3, "PBS_NUM_PPN")


@pytest.mark.parametrize("name", config.ENVIRONMENT)
@pytest.mark.parametrize("value", ["many", "0", "-2", "2.5", "1_0", "٣", ",2", "4;2"])
def test_malformed_variable_warns_and_the_next_source_counts(monkeypatch, kernel, name, value):
    monkeypatch.setenv(name, value)

    with pytest.warns(RuntimeWarning, match=name) as caught:
        assert config.worker_count_source() == (16, "CPU affinity")
    assert repr(value) in str(caught[0].message)


def test_list_is_malformed_where_only_openmp_allows_it(monkeypatch):
    monkeypatch.setenv("SHAREDARRAY_NUM_WORKERS", "4,2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")

    with pytest.warns(RuntimeWarning, match="SHAREDARRAY_NUM_WORKERS"):
        assert config.cpu_count() == 3


def test_good_variable_hides_a_malformed_later_one(monkeypatch):
    monkeypatch.setenv("SHAREDARRAY_NUM_WORKERS", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "many")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config.cpu_count() == 2


# setting it by call


@pytest.mark.parametrize("setter", [config.set_num_workers, config.worker_count_source])
@pytest.mark.parametrize(("n", "error"), [(-1, ValueError), (2.0, TypeError), ("2", TypeError)])
def test_number_that_is_none_is_refused(setter, n, error):
    with pytest.raises(error, match="number of workers"):
        setter(n)


@pytest.mark.parametrize(("n", "error"), [(-1, ValueError), (2.0, TypeError), (None, TypeError)])
def test_block_refuses_what_is_no_number(n, error):
    with pytest.raises(error, match="number of workers"), config.num_workers(n):
        pass


def test_zero_means_serial_and_numpy_integers_count():
    config.set_num_workers(0)
    assert config.cpu_count() == 0
    config.set_num_workers(np.int64(3))
    assert config.cpu_count() == 3
    assert type(config.cpu_count()) is int


def test_blocks_nest_and_end_with_an_exception():
    config.set_num_workers(5)

    def fail() -> None:
        with config.num_workers(3):
            raise KeyError

    with config.num_workers(4):
        with pytest.raises(KeyError):
            fail()
        assert config.cpu_count() == 4
    assert config.cpu_count() == 5


def test_block_holds_in_a_thread_with_a_copy_of_the_context_only():
    config.set_num_workers(5)
    seen = {}

    def look(name: str) -> None:
        seen[name] = config.cpu_count()

    with config.num_workers(3):
        context = contextvars.copy_context()
        threads = [
            threading.Thread(target=context.run, args=(look, "copied")),
            threading.Thread(target=contextvars.Context().run, args=(look, "own")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert seen == {"copied": 3, "own": 5}


# the share of a worker


@pytest.mark.parametrize(
    ("workers", "n", "share"), [(8, 0, 8), (8, 1, 8), (8, 3, 2), (8, 8, 1), (8, 99, 1), (0, 4, 1)]
)
def test_share_divides_the_workers_and_is_at_least_one(workers, n, share):
    with config.num_workers(workers):
        assert config.share_for(n) == share


def test_inside_a_worker_the_share_counts_until_it_asks_for_more():
    def work() -> list[tuple[int, str]]:
        config.inherit_share(2)
        seen = [config.worker_count_source()]
        with config.num_workers(6):
            seen.append(config.worker_count_source())
        return [*seen, config.worker_count_source(7)]

    config.set_num_workers(16)
    with config.num_workers(8):
        seen = contextvars.copy_context().run(work)
        assert config.cpu_count() == 8

    assert seen == [(2, "share of this worker"), (6, "num_workers"), (7, "argument")]


# the machine's CPUs


def test_affinity_counts_where_there_is_no_quota(kernel):
    assert machine.cpus() == (16, "CPU affinity")


def test_os_cpu_count_where_there_is_no_affinity(monkeypatch, kernel):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert machine.cpus() == (12, "os.cpu_count")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cpus() == (1, "os.cpu_count")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200000 100000", (2, "cgroup quota")),
        ("250000 100000", (3, "cgroup quota")),
        ("1000 100000", (1, "cgroup quota")),
        ("max 100000", (16, "CPU affinity")),
        ("6400000 100000", (16, "CPU affinity")),
        ("", (16, "CPU affinity")),
        ("nonsense", (16, "CPU affinity")),
    ],
)
def test_cgroup_v2_quota_rounds_up(kernel, text, expected):
    kernel("proc/self/cgroup", "0::/user/job")
    kernel("sys/fs/cgroup/user/job/cpu.max", text)

    assert machine.cpus() == expected


def test_cgroup_v2_quota_of_a_parent_holds_too(kernel):
    kernel("proc/self/cgroup", "0::/user/job")
    kernel("sys/fs/cgroup/user/job/cpu.max", "800000 100000")
    kernel("sys/fs/cgroup/user/cpu.max", "400000 100000")

    assert machine.cpus() == (4, "cgroup quota")


def test_cgroup_root_of_a_container_where_the_path_is_the_hosts(kernel):
    kernel("proc/self/cgroup", "0::/docker/0123/job")
    kernel("sys/fs/cgroup/cpu.max", "300000 100000")

    assert machine.cpus() == (3, "cgroup quota")


def test_cgroup_without_proc(kernel):
    kernel("sys/fs/cgroup/cpu.max", "300000 100000")

    assert machine.cpus() == (3, "cgroup quota")


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(
    ("quota", "expected"), [("500000", (5, "cgroup quota")), ("-1", (16, "CPU affinity"))]
)
def test_cgroup_v1_quota(kernel, folder, quota, expected):
    kernel("proc/self/cgroup", "9:name=systemd:/\n4:cpu,cpuacct:/job:1")
    kernel(f"sys/fs/cgroup/{folder}/job:1/cpu.cfs_quota_us", quota)
    kernel(f"sys/fs/cgroup/{folder}/job:1/cpu.cfs_period_us", "100000")

    assert machine.cpus() == expected


def test_cgroup_v1_quota_without_period_is_no_limit(kernel):
    kernel("proc/self/cgroup", "4:cpu:/")
    kernel("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000")

    assert machine.cpus() == (16, "CPU affinity")


def test_odd_cgroup_lines_are_passed_over(kernel):
    kernel("proc/self/cgroup", "\nodd\n7:odd\n0::/")
    kernel("sys/fs/cgroup/cpu.max", "300000 100000")

    assert machine.cpus() == (3, "cgroup quota")


# memory


def physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_total_memory_without_proc_and_sys(kernel):
    assert machine.total_memory() == physical_memory()


@pytest.mark.parametrize(
    ("lines", "name", "limit", "expected"),
    [
        ("0::/job", "job/memory.max", "1048576", 1048576),
        ("0::/job", "memory.max", "1048576", 1048576),
        ("0::/job", "job/memory.max", "max", None),
        ("4:memory:/job", "memory/job/memory.limit_in_bytes", "1048576", 1048576),
        ("4:memory:/job", "memory/memory.limit_in_bytes", UNLIMITED_V1, None),
    ],
)
def test_total_memory_obeys_the_cgroup(kernel, lines, name, limit, expected):
    kernel("proc/self/cgroup", lines)
    kernel(f"sys/fs/cgroup/{name}", limit)

    assert machine.total_memory() == (expected or physical_memory())


@pytest.mark.parametrize("error", [AttributeError, ValueError, OSError])
def test_total_memory_where_the_platform_is_silent(monkeypatch, kernel, error):
    def sysconf(name: str) -> int:
        raise error(name)

    monkeypatch.setattr(os, "sysconf", sysconf)

    with pytest.raises(NotImplementedError, match=sys.platform):
        machine.total_memory()
    assert config.config_facts()["total memory"] == "unknown"


def test_total_memory_where_the_kernel_gives_minus_one(monkeypatch, kernel):
    monkeypatch.setattr(os, "sysconf", lambda name: -1)

    with pytest.raises(NotImplementedError):
        machine.total_memory()


# debug flag and facts


def test_debug_flag():
    assert config.get_debug() is False
    config.set_debug(True)
    assert config.get_debug() is True
    assert config.config_facts()["debug mode"] == "on"


@pytest.mark.parametrize(
    ("text", "setting", "dear"),
    [
        ("always within_size advise [never] deny force", "never", True),
        ("always within_size advise never [deny] force", "deny", True),
        ("always within_size [advise] never deny force", "advise", False),
        ("", "unknown", False),
    ],
)
def test_shared_huge_pages(kernel, text, setting, dear):
    kernel("sys/shmem_enabled", text)

    facts = config.config_facts()

    assert facts["shared huge pages"] == setting
    assert ("huge pages cost" in facts) is dear
    if dear:
        assert f"echo advise | sudo tee {machine.SHMEM_HUGE_PAGES}" in facts["huge pages cost"]


def test_show_config_prints_the_facts(capsys):
    facts = config.config_facts()

    config.show_config()

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == list(facts)
    assert all(line.endswith(value) for line, value in zip(lines, facts.values(), strict=True))
    assert np.__version__ in facts["NumPy"]


def test_facts_without_limits_of_the_platform(monkeypatch, kernel):
    monkeypatch.setattr(machine, "resource", None)

    facts = config.config_facts()

    assert facts["open files"] == facts["memory maps"] == "unknown"


def test_numpy_without_simd_facts(monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {})

    assert machine.simd_features() == "none"


def test_import_on_a_platform_without_resource_and_affinity():
    code = (
        "import os, sys; sys.modules['resource'] = None; vars(os).pop('sched_getaffinity', 0);"
        "import sharedarray.config as c; c.set_num_workers(None); print(c.cpu_count());"
        "c.show_config()"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )

    assert "open files" in done.stdout


def test_host_id_is_the_same_in_every_process_that_proc_shows():
    code = "from sharedarray.machine import host_id; print(host_id())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == machine.host_id() != ""


def test_host_id_is_unknown_where_the_kernel_does_not_say(monkeypatch):
    monkeypatch.setattr(machine, "_read", lambda path: "")
    assert machine.host_id.__wrapped__() == ""
