"""What is killed under verl's reward loop loses no reward: our actors, a node, a model server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from verl_world import Row, make_batch, make_config, make_tokenizer

pytest.importorskip("verl")
ray = pytest.importorskip("ray")

from coderm_reward.data.records import read_records  # noqa: E402
from coderm_reward.generation.scripted_server import Act, ScriptedServer  # noqa: E402

pytestmark = pytest.mark.verl

QUESTION = "Write a function `add(a, b)` that returns the sum of two integers. Number {}."
TEST = """
import unittest
from solution import add

class TestAdd{number}(unittest.TestCase):
    def test_small(self):
        self.assertEqual(add({number}, 2), {number} + 2)

    def test_zero(self):
        self.assertEqual(add(0, 0), 0)
"""
SOLUTION = """```python
import time

def add(a, b):
    time.sleep({pause})
    return a {sign} b + 0 * {number}
```"""
PROMPTS, ROLLOUTS = 6, 4


def rows(start: int = 0, pause: float = 0.1) -> list[Row]:
    """Groups of rollouts of which the even ones are right; a test takes its time."""
    return [
        Row(
            [{"role": "user", "content": QUESTION.format(prompt)}],
            SOLUTION.format(pause=pause, sign="+-"[number % 2], number=10 * prompt + number),
            uid=f"u{prompt}",
        )
        for prompt in range(start, start + PROMPTS)
        for number in range(ROLLOUTS)
    ]


RIGHT = [1.0, 0.5] * (PROMPTS * ROLLOUTS // 2)
"""A wrong one still gets the sum of two zeros right."""


def act(asked: Any) -> Act:
    return Act(texts=(f"```python\n{TEST.format(number=asked.number + 1)}\n```",))


class Server:
    """A scripted model server in a thread of its own, which can be killed."""

    def __init__(self, script: Any = act, **options: Any) -> None:
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(script, options), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self, script: Any, options: dict[str, Any]) -> None:
        async def serve() -> None:
            async with ScriptedServer(script, **options) as self.server:
                self._ready.set()
                await self._stop.wait()

        self._loop.run_until_complete(serve())
        self._loop.close()

    @property
    def url(self) -> str:
        return str(self.server.url).removesuffix("/v1")

    def kill(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.kill()


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def make_worker(cluster: Any, tokenizer_folder: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """A real RewardLoopWorker over a model server, named by its URL or as verl's router."""
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    made = []

    def make(*, router: str | None = None, **settings: Any) -> Any:
        given = {"workers": 2, "loggers": "[]", "responses": 2, "model": "scripted", "template": "instruct"}
        kwargs = {**given, **settings}
        overrides = [f"+reward.custom_reward_function.reward_kwargs.{k}={v}" for k, v in kwargs.items()]
        overrides += [f"actor_rollout_ref.rollout.n={ROLLOUTS}", "reward.reward_model.model_path=scripted"]
        config = make_config(tokenizer_folder, tmp_path, overrides)
        made.append(ray.remote(RewardLoopWorker).options(max_concurrency=1000).remote(config, router))
        return made[-1]

    yield make
    for worker in made:
        ray.kill(worker)
    until = time.monotonic() + 60
    while left := [*ours_by_name("groups"), *ours_by_name("sandbox"), *ours_by_name("log")]:
        assert time.monotonic() < until, f"these outlive their owner: {left}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Any:
    from verl.utils import hf_tokenizer

    return hf_tokenizer(str(tokenizer_folder))


def ours_by_name(kind: str) -> dict[str, Any]:
    """Our live actors of a kind."""
    found = {}
    for name in [one["name"] for one in ray.util.list_named_actors(all_namespaces=True)]:
        if name.startswith(f"coderm-{kind}-"):
            with contextlib.suppress(ValueError):  # it ended in between
                found[name] = ray.get_actor(name)
    return found


def ours(kind: str) -> list[Any]:
    return list(ours_by_name(kind).values())


def reached(server: Server, requests: int, timeout: float = 60) -> None:
    """Return when the model server has been asked so often: a batch is under way."""
    until = time.monotonic() + timeout
    while len(server.server.asked) < requests:
        assert time.monotonic() < until
        time.sleep(0.02)


def rewards(reply: Any, timeout: float = 240) -> list[float]:
    answers = ray.get(reply, timeout=timeout)
    assert [answer["reward_extra_info"]["infra_error"] for answer in answers] == [0.0] * len(answers)
    return [answer["reward_score"] for answer in answers]


def test_our_actors_may_be_killed_in_the_middle_of_a_batch(
    make_worker: Callable[..., Any], server: Server, tokenizer: Any, tmp_path: Path
) -> None:
    worker = make_worker(base_url=f"{server.url}/v1")
    assert rewards(worker.compute_score_batch.remote(make_batch(tokenizer, rows(0, 0.0)))) == RIGHT
    for start, kind in ((10, "groups"), (20, "sandbox"), (30, "log")):
        before = len(server.server.asked)
        reply = worker.compute_score_batch.remote(make_batch(tokenizer, rows(start)))
        reached(server, before + 4)
        victims = ours(kind)
        assert victims
        ray.kill(victims[0])
        assert rewards(reply) == RIGHT
    uids = {f"u{start + i}" for start in (0, 10, 20, 30) for i in range(PROMPTS)}
    until = time.monotonic() + 30
    path = tmp_path / "records" / "groups.jsonl"
    while not uids <= {record.uid for record in read_records(path)} and time.monotonic() < until:
        time.sleep(0.1)
    assert uids <= {record.uid for record in read_records(path)}


def test_a_node_may_be_lost_in_the_middle_of_a_batch(
    make_worker: Callable[..., Any], server: Server, tokenizer: Any, cluster: Any
) -> None:
    worker = make_worker(base_url=f"{server.url}/v1")
    assert rewards(worker.compute_score_batch.remote(make_batch(tokenizer, rows(0, 0.0)))) == RIGHT
    before = len(ours("sandbox"))
    lost = cluster.add()  # hosts neither the driver nor the reward worker
    until = time.monotonic() + 60
    while len(ours("sandbox")) == before:
        assert time.monotonic() < until
        time.sleep(0.1)
    asked = len(server.server.asked)
    reply = worker.compute_score_batch.remote(make_batch(tokenizer, rows(40, 0.3)))
    reached(server, asked + 4)
    cluster.remove(lost)
    assert rewards(reply) == RIGHT


@contextlib.contextmanager
def router(*servers: Server) -> Iterator[str]:
    """verl's own router before model servers; its address. Not forked, or it would keep their sockets."""
    code = "import sys; from verl.experimental.reward_loop.router.naive_router import run_router; "
    code += "run_router('127.0.0.1', int(sys.argv[1]), sys.argv[2:])"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    urls = [server.url for server in servers]
    process = subprocess.Popen([sys.executable, "-c", code, str(port), *urls])
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("end", ["dies", "hangs"])
def test_a_model_server_behind_verls_router_may_be_lost(
    make_worker: Callable[..., Any], tokenizer: Any, end: str
) -> None:
    hangs = threading.Event()
    first = Server(lambda asked: Act(stall=True) if hangs.is_set() else act(asked))
    second = Server()
    try:
        with router(first, second) as address:
            # verl sends to the lost server every other time, so of few responses all might be lost.
            worker = make_worker(router=address, request_timeout=20, responses=10)
            batch = make_batch(tokenizer, rows(50, 0.0))
            assert rewards(worker.compute_score_batch.remote(batch)) == RIGHT
            assert first.server.asked
            assert second.server.asked
            hangs.set()
            if end == "dies":
                first.kill()
            batch = make_batch(tokenizer, rows(60, 0.0))
            assert rewards(worker.compute_score_batch.remote(batch)) == RIGHT
    finally:
        first.kill()
        second.kill()


def test_an_unreachable_model_is_neutral_until_it_is_too_much(
    make_worker: Callable[..., Any], server: Server, tokenizer: Any
) -> None:
    worker = make_worker(base_url=f"{server.url}/v1", failure_window=100, failure_share=0.3)
    server.kill()
    batch = make_batch(tokenizer, rows(70, 0.0))
    answers = ray.get(worker.compute_score_batch.remote(batch), timeout=120)
    for answer in answers:
        assert (answer["reward_score"], answer["reward_extra_info"]["infra_error"]) == (0.0, 1.0)
    with pytest.raises(ray.exceptions.RayTaskError, match="got no reward for infrastructure reasons"):
        ray.get(worker.compute_score_batch.remote(make_batch(tokenizer, rows(80, 0.0))), timeout=120)


def test_the_pools_of_many_nodes_may_end_together(
    make_worker: Callable[..., Any], server: Server, tokenizer: Any, cluster: Any
) -> None:
    for _ in range(3):
        cluster.add(2)
    worker = make_worker(base_url=f"{server.url}/v1", group_actors=2)
    assert rewards(worker.compute_score_batch.remote(make_batch(tokenizer, rows(0, 0.0)))) == RIGHT
    for start, victim in ((100, 0), (120, 1)):
        before = len(server.server.asked)
        reply = worker.compute_score_batch.remote(make_batch(tokenizer, rows(start, 0.3)))
        reached(server, before + 8)
        time.sleep(0.5)
        ray.kill(sorted(ours_by_name("groups").items())[victim][1])  # and the pools that it has started
        assert rewards(reply) == RIGHT
        found = ray.get(reply)
        assert {one["reward_extra_info"]["tests_run"] for one in found} == {
            one["reward_extra_info"]["tests_planned"] for one in found
        }
