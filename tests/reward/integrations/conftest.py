"""Real Ray clusters of several nodes on this machine, for whoever asks for `cluster`."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

_STORE = 80_000_000
_LINES_SAID = 20
_MARKS = (":job_id:", ":actor_name:")


class LocalCluster:
    """A head without CPUs, to which this process is connected, and as many nodes as are added.

    A node is known by Ray's id. All but `remove` have to be called in the main thread.
    """

    namespace = "training"

    def __init__(self, folder: Path) -> None:
        import ray
        from ray.cluster_utils import Cluster

        self._folder = folder
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": _STORE}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes: dict[str, Any] = {}
        ray.init(self._cluster.address, namespace=self.namespace, logging_level="ERROR", log_to_driver=False)

    @property
    def nodes(self) -> list[str]:
        """The nodes with CPUs, in the order in which they were added."""
        return list(self._nodes)

    def add(self, cpus: int = 4, environment: dict[str, str] | None = None) -> str:
        """Add a node that believes to have so many CPUs."""
        node = self._cluster.add_node(num_cpus=cpus, object_store_memory=_STORE, env_vars=environment)
        self._nodes[node.node_id] = node
        return str(node.node_id)

    def mend(self) -> None:
        """Have two nodes of four CPUs again, and none that Ray has not yet noticed to be lost."""
        import ray

        for node in self.nodes[2:]:
            self.remove(node)
        while len(self._nodes) < 2:
            self.add()
        deadline = time.monotonic() + 60
        while sum(node["Alive"] for node in ray.nodes()) > 1 + len(self._nodes):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def remove(self, node: str) -> None:
        """Kill all processes of a node, as if its machine had died."""
        self._cluster.remove_node(self._nodes.pop(node), allow_graceful=False)

    def stop(self) -> None:
        """End everything."""
        import ray

        ray.shutdown()
        self._cluster.shutdown()

    def said(self) -> str:
        """What its processes wrote last, those first that wrote last, and which named actors there are."""
        import ray

        try:
            parts = [f"named actors: {ray.util.list_named_actors(all_namespaces=True)}"]
        except (ray.exceptions.RayError, OSError, RuntimeError) as error:  # the cluster may be what failed
            parts = [f"named actors: {error!r}"]
        logs = list(self._folder.glob("ray/session_latest/logs/worker-*.err"))
        for path in sorted(logs, key=lambda path: path.stat().st_mtime, reverse=True):
            lines = path.read_text(errors="replace").splitlines()
            marks = [line for line in lines if line.startswith(_MARKS)]
            said = [line for line in lines if not line.startswith(_MARKS)]
            when = time.strftime("%H:%M:%S", time.gmtime(path.stat().st_mtime))
            parts += [f"{when} {path.stem[-6:]} {' '.join(marks)}", *said[-_LINES_SAID:]] if said else []
        return "\n".join(parts)

    def leftovers(self) -> list[str]:
        """Command lines of processes of this cluster that still run."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                environment = (process / "environ").read_bytes()
            except OSError:
                continue  # it has ended
            ours = str(self._folder).encode()
            if process.name != str(os.getpid()) and (ours in environment or ours in command.encode()):
                found.append(command)
        return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a test that failed on a cluster, tell what its actors wrote: their folder will be gone."""
    report = yield
    local = getattr(item, "funcargs", {}).get("module_cluster")
    if report.when == "call" and report.failed and isinstance(local, LocalCluster):
        report.sections.append(("What the actors wrote", local.said()))
    return report


@pytest.fixture
def cluster(module_cluster: LocalCluster) -> LocalCluster:
    """A cluster of two nodes with four CPUs each, which may be broken: the next test gets new ones."""
    module_cluster.mend()
    return module_cluster


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[LocalCluster]:
    """A cluster whose nodes come and go."""
    folder = Path(tempfile.mkdtemp(prefix="r"))  # short: a socket's path has at most 107 bytes
    (folder / "ray").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        local = LocalCluster(folder)
        try:
            yield local
        finally:
            local.stop()
            deadline = time.monotonic() + 30
            while (left := local.leftovers()) and time.monotonic() < deadline:
                time.sleep(0.1)
            shutil.rmtree(folder, ignore_errors=True)
            assert not left
