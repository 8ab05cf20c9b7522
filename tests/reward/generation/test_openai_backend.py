"""The client of a model server, against one that misbehaves in every way: nothing is lost, nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import backend_contract
import pytest
from backend_contract import collect, request

from coderm_reward.errors import CodermError, ConfigError, GenerationError
from coderm_reward.generation import concurrency
from coderm_reward.generation.completions import Completion, CompletionBackend, CompletionRequest, Sampling
from coderm_reward.generation.openai_backend import OpenAIBackend
from coderm_reward.generation.scripted_server import Act, Asked, Script, ScriptedServer
from coderm_reward.types import Message

T = TypeVar("T")
HANG = 60.0
"""Seconds after which a test that waits is taken for one that hangs."""


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CODERM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between rounds of connections are short."""
    monkeypatch.setattr(concurrency, "FIRST_PAUSE", 0.01)


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def guarded() -> T:
        return await asyncio.wait_for(work(), HANG)

    return asyncio.run(guarded())


@contextlib.asynccontextmanager
async def backend_of(
    server: ScriptedServer, model: str = "scripted", **options: Any
) -> AsyncIterator[OpenAIBackend]:
    async with OpenAIBackend(server.url, model, **{"retry_wait": 0.01, **options}) as backend:
        yield backend


def ask(
    script: Script, *requests: CompletionRequest, serve: Any = None, **options: Any
) -> tuple[dict[tuple[str, int], Completion], ScriptedServer]:
    """The completions of these requests (by default of one), and the server that was asked."""

    async def work() -> tuple[dict[tuple[str, int], Completion], ScriptedServer]:
        async with (
            ScriptedServer(script, **(serve or {})) as server,
            backend_of(server, **options) as backend,
        ):
            return await collect(backend, requests or [request("a")], Sampling(max_tokens=64)), server

    return run(work)


def kinds(found: dict[tuple[str, int], Completion]) -> list[str]:
    return [one.failure.kind if one.failure else "text" for one in found.values()]


def failure(found: dict[tuple[str, int], Completion]) -> str:
    (one,) = found.values()
    assert one.failure is not None
    assert one.text == ""
    return one.failure.message


@pytest.mark.parametrize("n_per_request", [1, 3])
@pytest.mark.parametrize("promise", backend_contract.CONTRACT, ids=lambda promise: promise.__name__)
def test_it_keeps_the_promises_of_every_backend(
    promise: Callable[[CompletionBackend], Awaitable[None]], n_per_request: int
) -> None:
    async def work() -> None:
        async with ScriptedServer() as server, backend_of(server, n_per_request=n_per_request) as backend:
            await promise(backend)

    run(work)


def test_a_prompt_that_is_too_long_fails_alone() -> None:
    async def work() -> None:
        async with ScriptedServer(context=100) as server, backend_of(server) as backend:
            await backend_contract.too_long_prompts_fail_alone(backend, 500)

    run(work)


def test_what_is_unfinished_at_the_end_comes_out_as_cancelled() -> None:
    async def work() -> None:
        async with ScriptedServer(Act(stall=True)) as server, backend_of(server) as backend:
            await backend_contract.unfinished_work_is_cancelled(backend)

    run(work)


# What is sent


def test_many_small_requests_carry_prompt_sampling_and_their_own_seeds() -> None:
    prompt = (Message("system", "Be brief."), Message("user", "Write a test."))
    found, server = ask(Act(), CompletionRequest("a", prompt, seed=40, n=3), n_per_request=2)
    assert sorted((one.seed, one.n) for one in server.asked) == [(40, 2), (42, 1)]
    assert {one.messages for one in server.asked} == {prompt}
    sent = server.asked[0].body
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"]) == (0.8, 0.95, 64)
    assert "authorization" not in server.asked[0].headers
    assert [f"TestSeed{40 + choice}(" in one.text for (_, choice), one in found.items()] == [True] * 3


def test_how_texts_are_cut_into_requests_does_not_change_them() -> None:
    one, two, four = [ask(Act(), request("a", n=4, seed=5), n_per_request=n)[0] for n in (1, 2, 4)]
    texts = [{key: found.text for key, found in some.items()} for some in (one, two, four)]
    assert texts[0] == texts[1] == texts[2]


def test_requests_of_one_prompt_follow_each_other() -> None:
    requests = [request(f"{text}{seed}", text, seed=seed) for seed in range(3) for text in ("x", "y")]
    _, server = ask(Act(), *requests, max_concurrency=1)
    assert [one.prompt for one in server.asked] == ["x", "x", "x", "y", "y", "y"]


@pytest.mark.parametrize(
    ("given", "environment", "sent"),
    [
        ("k1", {"CODERM_API_KEY": "k2"}, "Bearer k1"),
        (None, {"CODERM_API_KEY": " k2\n", "OPENAI_API_KEY": "k3"}, "Bearer k2"),
        (None, {"OPENAI_API_KEY": "k3"}, "Bearer k3"),
    ],
)
def test_a_key_comes_from_the_caller_or_the_environment(
    given: str | None, environment: dict[str, str], sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    _, server = ask(Act(), api_key=given)
    assert server.asked[0].headers["authorization"] == sent


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "nowhere"},
        {"max_concurrency": 0},
        {"deadline": 0.0},
        {"deadline": float("nan")},
        {"n_per_request": 0},
        {"n_per_request": 5},
        {"retries": -1},
        {"connect_timeout": 0.0},
        {"api_key": "a\nb"},
        {"api_key": "schlüssel"},
    ],
)
def test_a_setting_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIBackend(**{"base_url": "http://127.0.0.1:1", "model": "m", **options})
    assert "schlüssel" not in str(caught.value)


# What comes back


def test_tokens_and_latency_are_counted_per_text() -> None:
    found, _ = ask(Act(texts=("a b c",), delay=0.01), request("a", "one two", n=3), n_per_request=3)
    assert [one.prompt_tokens for one in found.values()] == [2, 0, 0]
    assert [one.completion_tokens for one in found.values()] == [3, 3, 3]
    assert all(one.seconds >= 0.01 for one in found.values())


def test_finish_reason_length_is_kept_with_its_text() -> None:
    found, _ = ask(Act(texts=("class A:",), finish_reason="length"))
    assert [(one.text, one.finish_reason, one.failure) for one in found.values()] == [
        ("class A:", "length", None)
    ]


def test_17_of_20_texts_are_17_texts_and_3_failures() -> None:
    def script(asked: Asked) -> Act:
        return Act(status=500) if asked.seed in (3, 9, 17) else Act()

    found, server = ask(script, request("a", n=20))
    assert sorted(kinds(found)) == ["server"] * 3 + ["text"] * 17
    assert len(server.asked) == 23
    assert {choice for (_, choice), one in found.items() if one.failure} == {3, 9, 17}


def test_texts_that_a_reply_lacks_are_failures() -> None:
    found, _ = ask(Act(choices=2), request("a", n=3), n_per_request=3)
    assert kinds(found) == ["text", "text", "malformed"]
    assert "gave 2 of 3 texts" in str(found["a", 2].failure)


@pytest.mark.parametrize(
    ("act", "kind", "sends", "says"),
    [
        (Act(status=500, message="boom"), "server", 2, "failed (500: boom)"),
        (Act(status=502, body=b"<html>bad gateway"), "server", 2, "failed (502: an HTML page)"),
        (Act(status=503), "server", 2, "too busy (503"),
        (Act(status=400, message="bad seed"), "rejected", 1, "rejected the request (400: bad seed)"),
        (Act(status=401), "rejected", 1, "wants an API key (401"),
        (Act(status=404, message="no such model"), "rejected", 1, "no such model"),
        (Act(status=307, headers={"Location": "http://x/v1"}), "rejected", 1, "use that URL"),
        (Act(drop="before"), "connection", 2, "broke the connection"),
        (Act(drop="after_head"), "connection", 2, "broke the connection"),
        (Act(drop="in_body"), "connection", 2, "broke the connection"),
        (Act(body=b"<!DOCTYPE html><html>hi"), "malformed", 1, "an HTML page instead of a completion"),
        (Act(body=b"\x00\x01\x02"), "malformed", 1, "3 bytes that are no JSON"),
        (Act(body=b'{"choices": [{"message": {"con'), "malformed", 1, "bytes that are no JSON"),
        (Act(body=b"no gzip at all", headers={"Content-Encoding": "gzip"}), "malformed", 1, "rubbish"),
        (Act(choices=0), "malformed", 1, "no choices instead of a completion"),
    ],
)
def test_what_goes_wrong_is_a_failure_of_its_kind(act: Act, kind: str, sends: int, says: str) -> None:
    found, server = ask(act)
    assert kinds(found) == [kind]
    assert says in failure(found)
    assert server.url in failure(found)
    assert len(server.asked) == sends


def test_rubbish_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coderm_reward.generation.connections.MAX_BODY", 1 << 20)
    found, _ = ask(Act(endless=True, body=b"rubbish " * 4096))
    assert kinds(found) == ["malformed"]


def test_a_key_that_a_server_repeats_is_not_passed_on() -> None:
    found, _ = ask(Act(), api_key="sk-wrong", serve={"api_key": "sk-right"})
    assert "refuses the API key (401: Incorrect API key: Bearer ***)" in failure(found)


# Once more


@pytest.mark.parametrize("first", [Act(status=500), Act(status=503), Act(drop="before"), Act(drop="in_body")])
def test_one_retry_makes_good_for_one_failure(first: Act) -> None:
    found, server = ask([first])
    assert kinds(found) == ["text"]
    assert [one.seed for one in server.asked] == [0, 0]


def test_there_is_no_retry_without_retries() -> None:
    found, server = ask([Act(status=500)], retries=0)
    assert (kinds(found), len(server.asked)) == (["server"], 1)


def test_a_429_is_asked_again_until_it_is_answered() -> None:
    found, server = ask([Act(status=429, headers={"Retry-After": "0"})] * 5)
    assert (kinds(found), len(server.asked)) == (["text"], 6)


def test_retry_after_is_kept() -> None:
    async def work() -> None:
        times = []

        def script(asked: Asked) -> Act:
            times.append(asyncio.get_running_loop().time())
            return Act(status=429, headers={"Retry-After": "0.2"}) if len(times) == 1 else Act()

        async with ScriptedServer(script) as server, backend_of(server) as backend:
            await collect(backend, [request("a")])
            assert times[1] - times[0] >= 0.2

    run(work)


def test_a_429_to_the_deadline_is_a_failure() -> None:
    found, server = ask(Act(status=429, message="slow down"), deadline=1.0)
    assert kinds(found) == ["server"]
    assert "too busy (429: slow down)" in failure(found)
    assert len(server.asked) > 1


def test_a_wait_beyond_the_deadline_is_not_waited_for() -> None:
    found, server = ask(Act(status=429, headers={"Retry-After": "86400"}))
    assert (kinds(found), len(server.asked)) == (["server"], 1)


def test_a_refusal_of_many_slows_down_and_loses_none() -> None:
    async def work() -> None:
        def script(asked: Asked) -> Act:
            full = server.in_flight > 8
            return Act(status=429, headers={"Retry-After": "0.01"}) if full else Act(delay=0.02)

        async with ScriptedServer(script) as server, backend_of(server) as backend:
            found = await collect(backend, [request(str(i)) for i in range(200)])
            assert kinds(found) == ["text"] * 200

    run(work)


def test_max_tokens_shrinks_to_what_fits_beside_a_prompt_once_for_all() -> None:
    requests = [request(str(i), "word " * 80, seed=i) for i in range(3)]
    found, server = ask(Act(), *requests, serve={"context": 100}, max_concurrency=1)
    assert kinds(found) == ["text"] * 3
    assert [one.max_tokens for one in server.asked] == [64, 20, 20, 20]


# Time


def test_a_stalled_request_ends_at_its_deadline_and_others_are_not_kept_waiting() -> None:
    def script(asked: Asked) -> Act:
        return Act(stall=True) if asked.seed == 0 else Act()

    found, server = ask(script, *[request(str(i), seed=i) for i in range(50)], deadline=2.0)
    assert found["0", 0].failure is not None
    assert (found["0", 0].failure.kind, "2 s" in found["0", 0].failure.message) == ("timeout", True)
    assert sorted(kinds(found)) == ["text"] * 49 + ["timeout"]
    assert server.disconnects == 1
    assert len(server.asked) == 50


def test_slow_bytes_do_not_put_off_the_deadline() -> None:
    found, _ = ask(Act(trickle=0.05), deadline=0.2)
    assert kinds(found) == ["timeout"]


def test_the_deadline_holds_for_all_tries_together() -> None:
    found, server = ask([Act(status=500, delay=0.2), Act(stall=True)], deadline=1.5)
    assert (kinds(found), len(server.asked)) == (["timeout"], 2)
    (one,) = found.values()
    assert 1.5 <= one.seconds < HANG


def test_waiting_for_ones_turn_does_not_count() -> None:
    requests = [request(str(i), seed=i) for i in range(6)]
    found, _ = ask(Act(delay=0.4), *requests, max_concurrency=1, deadline=2.0)
    assert kinds(found) == ["text"] * 6
    assert all(one.seconds < 2.0 for one in found.values())


def test_no_more_are_in_flight_than_allowed() -> None:
    _, server = ask(Act(delay=0.005), *[request(str(i)) for i in range(40)], max_concurrency=3)
    assert server.most_in_flight == 3


def test_in_flight_grows_with_the_answers() -> None:
    async def work() -> None:
        most = concurrency.FIRST_LIMIT + 16
        async with ScriptedServer(Act(delay=0.2)) as server, backend_of(server, max_concurrency=most) as own:
            completions = own.complete([request(str(i)) for i in range(100_000)], Sampling())
            async for _ in completions:
                if server.most_in_flight == most:
                    break
            await completions.aclose()

    run(work)


# The end


def test_leaving_the_iterator_closes_what_is_in_flight() -> None:
    async def work() -> None:
        def script(asked: Asked) -> Act:
            return Act() if asked.seed == 0 else Act(stall=True)

        async with ScriptedServer(script) as server, backend_of(server) as backend:
            completions = backend.complete([request("a", n=5)], Sampling())
            assert (await anext(completions)).choice == 0
            await server.until(lambda: server.in_flight == 4)
            await completions.aclose()
            await server.until(lambda: server.disconnects == 4)
            assert server.in_flight == 0

    run(work)


def test_cancelling_the_task_closes_what_is_in_flight() -> None:
    async def work() -> None:
        async with ScriptedServer(Act(stall=True)) as server, backend_of(server) as backend:
            task = asyncio.create_task(collect(backend, [request("a", n=5)]))
            await server.until(lambda: server.in_flight == 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.until(lambda: server.disconnects == 5)

    run(work)


def test_closing_the_backend_closes_what_is_in_flight_and_accounts_for_all() -> None:
    async def work() -> None:
        async with (
            ScriptedServer(Act(stall=True)) as server,
            backend_of(server, max_concurrency=2) as backend,
        ):
            task = asyncio.create_task(collect(backend, [request("a", n=9)]))
            await server.until(lambda: server.in_flight == 2)
            await backend.aclose()
            assert kinds(await task) == ["cancelled"] * 9
            await server.until(lambda: server.disconnects == 2)

    run(work)


# Dead servers


@pytest.mark.usefixtures("impatient")
def test_a_dead_server_ends_everything_soon_and_is_named() -> None:
    async def work() -> None:
        async with ScriptedServer() as server:
            await server.stop()
            async with backend_of(server, deadline=HANG) as backend:
                found = await collect(backend, [request(str(i)) for i in range(2000)])
        assert kinds(found) == ["connection"] * 2000
        assert all(server.url in str(one.failure) for one in found.values())
        assert any("Connection refused" in str(one.failure) for one in found.values())

    run(work)


@pytest.mark.usefixtures("impatient")
def test_a_server_killed_in_the_middle_keeps_what_had_arrived_and_may_come_back() -> None:
    async def work() -> None:
        def script(asked: Asked) -> Act:
            return Act(stall=asked.number >= 100)

        async with ScriptedServer(script) as server, backend_of(server, max_concurrency=8) as backend:
            task = asyncio.create_task(collect(backend, [request(str(i)) for i in range(300)]))
            await server.until(lambda: len(server.asked) == 108)
            await server.stop()
            found = await task
            assert sorted(set(kinds(found))) == ["connection", "text"]
            assert kinds(found).count("text") == 100
            assert kinds(await collect(backend, [request("too early")])) == ["connection"]

    run(work)


@pytest.mark.usefixtures("impatient")
def test_a_dead_server_is_tried_again_and_found_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coderm_reward.generation.openai_server.COOLDOWN", 0.3)

    async def work() -> None:
        async with ScriptedServer() as server, backend_of(server, max_concurrency=4) as backend:
            await server.stop()
            found = await collect(backend, [request(str(i)) for i in range(50)])
            assert any("make sure that it runs" in str(one.failure) for one in found.values())
            await server.start()
            while "text" not in kinds(await collect(backend, [request("again")])):
                await asyncio.sleep(0.1)  # the cooldown is a matter of time
            assert kinds(await collect(backend, [request(str(i)) for i in range(50)])) == ["text"] * 50

    run(work)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_drops_every_connection_is_given_up() -> None:
    found, server = ask(Act(drop="before"), *[request(str(i)) for i in range(3000)], max_concurrency=32)
    assert kinds(found) == ["connection"] * 3000
    assert len(server.asked) < 1000


def test_a_server_that_answers_nothing_is_given_up_after_one_deadline() -> None:
    found, server = ask(
        Act(stall=True), *[request(str(i)) for i in range(500)], deadline=0.3, max_concurrency=16
    )
    assert set(kinds(found)) == {"timeout", "connection"}
    assert len(server.asked) < 100
    assert any("has answered none within 0.3 s" in str(one.failure) for one in found.values())


def test_a_server_that_refuses_everything_is_given_up() -> None:
    requests = [request(str(i)) for i in range(500)]
    found, server = ask(Act(status=429), *requests, deadline=1.0, max_concurrency=16)
    assert set(kinds(found)) <= {"server", "connection"}
    assert len(found) == 500
    assert any("has refused everything for" in str(one.failure) for one in found.values())
    assert len({one.seed for one in server.asked}) < 500


# check()


def check(script: Script = (), *, model: str = "scripted", options: Any = None, **serve: Any) -> str:
    """What `check` says about such a server; nothing if all is well."""

    async def work() -> str:
        async with (
            ScriptedServer(script, **serve) as server,
            backend_of(server, model, **(options or {})) as own,
        ):
            try:
                await own.check()
            except GenerationError as error:
                return str(error).replace(own.url, "URL")
            return ""

    return run(work)


def test_a_server_with_the_model_is_fine() -> None:
    assert check(models=["a", "scripted"]) == ""
    assert check(api_key="k", options={"api_key": "k"}) == ""


def test_a_wrong_model_name_is_told_with_the_right_ones() -> None:
    sentence = check(model="CodeRM", models=["KAKA22/CodeRM-8B", "other"])
    assert "serves KAKA22/CodeRM-8B, other, but not 'CodeRM'" in sentence


@pytest.mark.parametrize(
    ("listing", "says"),
    [
        (Act(body=b"<html>login", headers={"Content-Type": "text/html"}), "answers with an HTML page"),
        (Act(body=b"{}"), "JSON that is no list of models"),
        (Act(status=404, message="Not Found"), "says 'Not Found' (404); check the URL"),
        (Act(status=503, message="loading"), "is too busy (503: loading)"),
        (Act(status=500), "failed (500"),
        (Act(drop="before"), "No server can be reached"),
        (Act(status=301, headers={"Location": "https://x/v1"}), "sends us on to https://x/v1"),
    ],
)
def test_another_kind_of_server_is_told_in_one_sentence(listing: Act, says: str) -> None:
    sentence = check(listing=listing)
    assert says in sentence
    assert "URL" in sentence


def test_a_missing_and_a_wrong_key_are_told() -> None:
    assert "wants an API key (401" in check(api_key="k")
    assert "refuses the API key (401" in check(api_key="k", options={"api_key": "other"})


def test_a_server_that_does_not_list_ends_the_check() -> None:
    assert "did not list its models within 0.2 s" in check(listing=Act(stall=True), options={"deadline": 0.2})


def test_a_wrong_url_is_told() -> None:
    async def work() -> None:
        async with ScriptedServer() as server:
            await server.stop()
            async with backend_of(server) as backend:
                with pytest.raises(CodermError, match="Connection refused"):
                    await backend.check()

    run(work)
