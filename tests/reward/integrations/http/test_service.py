"""The endpoints of a real service: real HTTP, real sandbox, recorded tests."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from coderm_reward.types import RewardOutput

FIELDS = set(RewardOutput.__struct_fields__)


def post(service: Any, path: str, body: object) -> httpx.Response:
    return service.client.post(path, json=body)


def score_batch(service: Any, groups: list[dict[str, Any]]) -> list[list[dict[str, float]]]:
    answer = post(service, "/v1/score_batch", {"groups": groups})
    assert answer.status_code == 200, answer.text
    return answer.json()["rewards"]


def test_a_batch_gets_the_flat_schema_in_order(service: Any, groups: list[dict[str, Any]]) -> None:
    rewards = score_batch(service, groups)
    assert [len(rewarded) for rewarded in rewards] == [8, 8, 8]
    assert all(reward.keys() == FIELDS for rewarded in rewards for reward in rewarded)
    assert {reward["infra_error"] for rewarded in rewards for reward in rewarded} == {0.0}
    [backwards] = score_batch(service, [{**groups[1], "responses": groups[1]["responses"][::-1]}])
    assert [r["score"] for r in backwards] == [r["score"] for r in rewards[1]][::-1]
    assert len({reward["score"] for reward in rewards[1]}) > 1


def test_groups_of_one_prompt_do_not_mix(service: Any, groups: list[dict[str, Any]]) -> None:
    """Reliability is of a group as a whole: copies of one rollout have none, and its siblings have some."""
    copies = {**groups[1], "responses": groups[1]["responses"][:1] * 2}
    mixed, alike = score_batch(service, [{**groups[1], "uid": "same"}, {**copies, "uid": "same"}])
    assert {reward["reliability"] > 0 for reward in mixed} == {True}
    assert {reward["reliability"] for reward in alike} == {0.0}


def test_messages_do_as_well_as_a_prompt(service: Any, groups: list[dict[str, Any]]) -> None:
    text = groups[0]["prompt"].split("\nuser\n")[1].rpartition("\nassistant")[0]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    by_text, by_messages = score_batch(
        service, [groups[0], {"messages": messages, "responses": groups[0]["responses"]}]
    )
    assert [r["score"] for r in by_messages] == [r["score"] for r in by_text]


def test_the_datasets_own_tests_are_run_in_validation(service: Any, groups: list[dict[str, Any]]) -> None:
    truth = ["assert longest_rise([1, 2, 1]) == 2", "assert longest_rise([]) == 0"]
    asked = {"prompt": groups[0]["prompt"], "responses": [*groups[0]["responses"][:1], "I cannot."]}
    validated, trained = score_batch(
        service, [{**asked, "ground_truth": truth, "validation": True}, {**asked, "ground_truth": truth}]
    )
    assert [(r["has_truth"], r["acc_true"]) for r in validated] == [(1.0, 1.0), (1.0, 0.0)]
    assert [r["has_truth"] for r in trained] == [0.0, 0.0]


def test_nothing_asked_is_nothing_answered(service: Any, groups: list[dict[str, Any]]) -> None:
    assert score_batch(service, []) == []
    assert score_batch(service, [{"prompt": groups[0]["prompt"], "responses": []}]) == [[]]


def test_one_rollout_alone(service: Any, groups: list[dict[str, Any]]) -> None:
    answer = post(
        service,
        "/v1/score",
        {"prompt": groups[0]["prompt"], "response": groups[0]["responses"][0], "alone": True},
    )
    assert answer.status_code == 200
    assert answer.json().keys() == FIELDS
    assert answer.json()["tests_run"] > 0


def test_64_clients_whose_rollouts_meet(service: Any, groups: list[dict[str, Any]]) -> None:
    """Eight groups of eight, each rollout by a client of its own: the rewards of whole groups."""
    expected = [[r["score"] for r in rewarded] for rewarded in score_batch(service, groups)]

    async def one(number: int) -> tuple[int, int, float]:
        group, member = number // 8 % len(groups), number % 8
        body = {
            "prompt": groups[group]["prompt"],
            "response": groups[group]["responses"][member],
            "uid": f"step-1-{number // 8}",
            "member": str(member),
            "siblings": 8,
            "step": 1,
        }
        async with httpx.AsyncClient(base_url=service.url, timeout=120.0) as client:
            answer = await client.post("/v1/score", json=body)
        assert answer.status_code == 200, answer.text
        return group, member, answer.json()["score"]

    async def everybody() -> list[tuple[int, int, float]]:
        return await asyncio.gather(*(one(number) for number in range(64)))

    answers = asyncio.run(everybody())
    assert len(answers) == 64
    assert all(score == pytest.approx(expected[group][member]) for group, member, score in answers)


def test_health_readiness_and_settings(service: Any) -> None:
    assert service.client.get("/healthz").json() == {"live": True}
    assert service.client.get("/readyz").json() == {"ready": True}
    shown = service.client.get("/v1/config").json()
    assert shown["settings"]["training"]["quiet_seconds"] == 0.2
    assert shown["limits"]["max_responses"] == 256
    described = service.client.get("/openapi.json").json()
    assert {"/v1/score", "/v1/score_batch"} <= described["paths"].keys()
    assert {"ScoreRequest", "BatchRequest", "RewardOutput"} <= described["components"]["schemas"].keys()
    assert "http://" not in json.dumps(described)
    assert service.client.get("/docs").status_code == 404


def test_metrics_count_what_was_done(service: Any, groups: list[dict[str, Any]]) -> None:
    score_batch(service, groups[:1])
    before = {
        name: service.metric(name)
        for name in (
            "coderm_rollouts_total",
            "coderm_groups_total",
            "coderm_reward_count",
            "coderm_generation_seconds_count",
            "coderm_execution_seconds_count",
            'coderm_requests_total{route="/v1/score_batch",status="200"}',
        )
    }
    [rewarded] = score_batch(service, groups[:1])
    grown = {name: service.metric(name) - value for name, value in before.items()}
    assert list(grown.values()) == [8, 1, 8, 1, 1, 1]
    assert sum(reward["score"] for reward in rewarded) <= service.metric("coderm_reward_sum")
    assert service.metric('coderm_verdicts_total{verdict="pass"}') > 0
    assert service.metric('coderm_verdicts_total{verdict="unknown"}') == 0
    assert service.metric("coderm_rollouts_in_flight") == 0.0
    assert service.metric("coderm_infra_errors_total") == 0.0


def test_the_log_has_a_line_for_each_request_and_no_text_of_rollouts(
    service: Any, groups: list[dict[str, Any]]
) -> None:
    secret = "the-text-of-a-rollout"
    post(service, "/v1/score", {"prompt": groups[0]["prompt"], "response": secret, "alone": True})
    assert "POST /v1/score 200, 1 rollouts" in service.wait_for("POST /v1/score 200")
    service.client.get(f"/{secret}%0Aforged")
    assert "GET other 404" in service.wait_for("GET other")
    assert secret not in service.log()
    assert "forged" not in service.log()


def test_the_python_example_of_the_page_runs(service: Any) -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "serve.md").read_text("utf-8")
    example = page.split("````python\n")[1].partition("````")[0]
    names: dict[str, Any] = {}
    exec(compile(example.replace("http://127.0.0.1:8400", service.url), "serve.md", "exec"), names)
    assert [reward["no_code"] for reward in names["rewards"]] == [0.0, 1.0]
