"""Parameter servers whose memory is limited."""

import re
import resource
from pathlib import Path

import pytest

from tests.students.cluster import Cluster, assert_same_student, ended, recipe, start


class SmallServers(Cluster):
    """A cluster whose servers have memory for a part of the n-gram table, beside what they hold once they have started.

    The limit is the kernel's, of private memory (RLIMIT_DATA). oneDNN's allocator sets aside twice what is in use.
    """

    def __init__(self, folder: Path, workdir: str, servers: int) -> None:
        super().__init__(folder, workdir, "parameter_server", chief=1, worker=1, ps=servers)
        self.variables = {"ps": {"TF_ENABLE_ONEDNN_OPTS": "0"}}

    def limit(self, room: int) -> None:
        """Waits until all members have joined, and gives the servers so many bytes more than they hold."""
        self.wait_for(lambda: "all members are there" in self.log, "chief0")
        for name, process in self.members.items():
            if name.startswith("ps"):
                (held,) = re.findall(r"VmData:\s*(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
                most = int(held) * 1024 + room
                resource.prlimit(process.pid, resource.RLIMIT_DATA, (most, most))


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits another process's memory, as Linux does")
def test_a_table_larger_than_a_servers_memory_trains_on_two(tmp_path: Path) -> None:
    buckets, dim = 2**20, 64
    room = int(0.9 * buckets * dim * 4)
    folder = recipe(tmp_path, 2, buckets, dim, seconds=60.0)
    with SmallServers(folder, "one", 1) as cluster:
        cluster.limit(room)
        assert ended({"chief0": cluster.members["chief0"]}) == {"chief0": 1}
    assert "has no more memory; more parameter servers hold smaller parts of the tables: OOM" in cluster.log
    assert f"shape[{buckets},{dim}]" in cluster.log
    with SmallServers(folder, "two", 2) as cluster:
        cluster.limit(room)
        assert ended({"chief0": cluster.members["chief0"]}) == {"chief0": 0}, cluster.log  # the others wait for it
        assert ended(cluster.members) == dict.fromkeys(cluster.members, 0), cluster.log
    assert start(folder, "alone", "").wait(900) == 0
    assert_same_student(folder, "two")
