"""How big a node's pool is, which nodes go together, and what a node answers; no Ray in here."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.config import SandboxConfig
from coderm_reward.integrations.ray_desk import Failure, Inspect
from coderm_reward.integrations.ray_nodes import NodeFacts, SandboxNode, Share, common_circumstances, share_of
from coderm_sandbox import Job, Outcome, Test


@pytest.mark.parametrize(
    ("cpus", "free", "asked", "expected"),
    [
        (64, 64, None, Share(32, 32)),
        (64, 20, None, Share(19, 19)),
        (2, 2, None, Share(1, 1)),
        (8, 1, None, Share(1, 0)),
        (1, 1, None, Share(1, 0)),
        (64, 64, 32, Share(32, 32)),
        (64, 64, 64, Share(64, 63)),
        (64, 10, 16, Share(10, 9)),
        (64, 1, 16, Share(1, 0)),
        (64, 0.5, 16, Share(1, 0)),
        (64, 0, None, Share(1, 0)),
    ],
)
def test_the_share_of_a_node(cpus: float, free: float, asked: int | None, expected: Share) -> None:
    assert share_of(cpus, free, asked) == expected


@given(st.integers(1, 256), st.floats(0, 256), st.none() | st.integers(1, 512))
def test_a_node_always_has_a_worker_and_never_reserves_what_is_not_free(
    cpus: int, free: float, asked: int | None
) -> None:
    free = min(free, cpus)
    share = share_of(cpus, free, asked)
    assert share.workers >= 1
    assert share.cpus in (0, share.workers - 1, share.workers)
    assert share.cpus == 0 or free - share.cpus >= 1  # room to place the trainer's next actor
    if asked is None:
        assert share.workers <= max(1, cpus // 2)
    else:
        assert share.workers <= asked


def facts(description: str, workers: int, python: str = "/usr/bin/python3 3.11.7") -> NodeFacts:
    return NodeFacts(workers, workers, description, python, owner="", id="")


def test_most_workers_decide_and_the_stronger_isolation_where_they_do_not() -> None:
    bubblewrap = [facts("bubblewrap (/usr/bin/bwrap, own user namespace)", 4)]
    bubblewrap += [facts("bubblewrap (/opt/bwrap, root, leaving for an unused uid)", 4)]
    landlock = facts("landlock (ABI 6, uid 1000)", 7)
    assert bubblewrap[0].circumstances == bubblewrap[1].circumstances
    assert common_circumstances([landlock, *bubblewrap]) == bubblewrap[0].circumstances
    assert common_circumstances([landlock, bubblewrap[0]]) == landlock.circumstances
    even = facts("landlock (ABI 6, uid 1000)", 4)
    assert common_circumstances([even, bubblewrap[0]]) == bubblewrap[0].circumstances
    older = facts("bubblewrap (/usr/bin/bwrap, own user namespace)", 4, "/usr/bin/python3 3.11.6")
    assert older.circumstances != bubblewrap[0].circumstances


SOURCE = """import unittest
class T(unittest.TestCase):
    def test_a(self):
        self.assertEqual(f(2), 4)
"""


def test_a_node_works_for_several_clients_and_forgets_who_leaves() -> None:
    async def run() -> None:
        node = SandboxNode(SandboxConfig(), Share(1, 0), "first")
        try:
            described = await node.start("first")
            assert (described.workers, described.cpus, described.owner) == (1, 0, "first")
            assert await node.start("second") == described
            test = Test(SOURCE, methods=("T.test_a",))
            right, wrong = (
                Job("def f(x):\n    return 2 * x\n", (test,)),
                Job("def f(x):\n    return x\n", (test,)),
            )
            hangs = Job("def f(x):\n    while True:\n        pass\n", (test,))
            found = {}
            reply = await node.exchange("first", pickle.dumps(({1: right, 2: wrong}, [])))
            while len(found) < 2:
                done, report = pickle.loads(reply)
                found.update(done)
                reply = await node.exchange("first", pickle.dumps(({}, [])))
            assert {ticket: results[0].outcome for ticket, results in found.items()} == {
                1: Outcome.PASS,
                2: Outcome.FAIL,
            }
            assert (report.others, report.sharers) == (0, 0)
            waiting = asyncio.ensure_future(node.exchange("second", pickle.dumps(({1: hangs, 2: hangs}, []))))
            while not (report := await node.report("first")).others:
                await asyncio.sleep(0)
            assert (report.others, report.sharers) == (2, 1)
            await node.leave("second")
            assert pickle.loads(await waiting)[0] == []
            assert (await node.report("first")).others == 0
            assert (await node.stats()).unknown == 0
        finally:
            node.close()

    asyncio.run(run())


def test_a_job_that_no_worker_is_left_for_is_a_failure_and_no_verdict() -> None:
    async def run() -> None:
        node = SandboxNode(SandboxConfig(), Share(1, 0), "first")
        await node.start("first")
        node.close()
        work = {1: Inspect((Test(SOURCE),), votes=False)}
        done, _ = pickle.loads(await node.exchange("first", pickle.dumps((work, []))))
        assert done == [(1, Failure("PoolClosedError: the sandbox pool was closed"))]

    asyncio.run(run())
