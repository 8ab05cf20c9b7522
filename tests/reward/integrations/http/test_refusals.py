"""What a service refuses, and how it says so: access, limits, and requests that cannot be used."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

TOKEN = "0123456789abcdef"


def error(answer: httpx.Response) -> str:
    """The sentence of a refusal, which is all there is in it."""
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].endswith(".")
    assert "\n" not in body["error"]
    return body["error"]


@pytest.fixture(scope="module")
def guarded(start_service: Any) -> Any:
    """A service with a token and small limits."""
    limits = ("--max-body", 1, "--max-responses", 3, "--max-text", 2000, "--max-in-flight", 5)
    return start_service(*limits, token=TOKEN)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"],
)
@pytest.mark.parametrize(
    "path", ["/v1/score", "/v1/score_batch", "/metrics", "/v1/config", "/openapi.json", "/no"]
)
def test_nobody_gets_in_without_the_token(guarded: Any, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    method = "POST" if path.startswith("/v1/score") else "GET"
    answer = httpx.request(method, guarded.url + path, headers=headers, content=b"{}")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in error(answer)
    assert TOKEN not in answer.text


def test_the_right_token_opens_everything_and_probes_need_none(guarded: Any) -> None:
    assert guarded.client.get("/v1/config").status_code == 200
    assert guarded.client.get("/metrics").status_code == 200
    assert TOKEN not in guarded.client.get("/v1/config").text
    for path in ("/healthz", "/readyz"):
        assert httpx.get(guarded.url + path).status_code == 200
    assert TOKEN not in guarded.log()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]"])
def test_a_page_whose_name_was_bound_to_this_machine_gets_nothing(service: Any, host: str) -> None:
    answer = httpx.get(f"{service.url}/healthz", headers={"Host": host})
    assert answer.status_code == 421
    assert "--allowed-host" in error(answer)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8400", "[::1]:8400"])
def test_this_machines_names_are_taken(service: Any, host: str) -> None:
    assert httpx.get(f"{service.url}/healthz", headers={"Host": host}).status_code == 200


def test_a_form_of_another_page_is_no_request(service: Any) -> None:
    """Browsers send such a body across origins without asking first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        headers = {} if kind is None else {"Content-Type": kind}
        answer = service.client.post(
            "/v1/score", content=b'{"prompt": "a", "response": "b"}', headers=headers
        )
        assert answer.status_code == 415
        assert "application/json" in error(answer)


def group(responses: int, text: str = "x") -> dict[str, Any]:
    return {"prompt": "Write f.", "responses": [text] * responses}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/score_batch", {"groups": [group(4)]}, "groups[0].responses has 4 items where 3"),
        ("/v1/score_batch", {"groups": [group(3), group(3)]}, "6 rollouts are more than the 5"),
        ("/v1/score_batch", {"groups": [group(1, "x" * 2001)]}, "groups[0].responses[0] has 2,001"),
        ("/v1/score_batch", {"groups": [{"prompt": "x" * 2001, "responses": ["x"]}]}, "groups[0].prompt has"),
        ("/v1/score", {"prompt": "a", "response": "x" * 2001}, "response has 2,001 characters"),
        ("/v1/score", {"prompt": "a", "response": "b", "siblings": 4}, "siblings says 4"),
        ("/v1/score", {"prompt": "a", "response": "x" * 2**20}, "A request may have 1,048,576 bytes"),
    ],
)
def test_limits(guarded: Any, path: str, body: object, said: str) -> None:
    answer = guarded.client.post(path, json=body)
    assert answer.status_code == 413
    assert said in error(answer)


def test_a_body_of_unknown_length_is_cut_off(guarded: Any) -> None:
    def chunks() -> Any:
        for _ in range(64):
            yield b" " * 2**16

    answer = guarded.client.post("/v1/score", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"prompt": "\xff"}', 400, "not JSON"),
        (b'{"prompt": "\\ud800", "response": ""}', 400, "not JSON"),
        (b'{"ground_truth":' + b"[" * 100_000, 400, "nested too deeply"),
        (b"[]", 422, "Expected `object`, got `array`"),
        (b"{}", 422, "missing required field `response`"),
        (b'{"response": 1}', 422, "$.response"),
        (b'{"response": "a", "prompt": "b", "respone": 1}', 422, "unknown field `respone`"),
        (b'{"response": "a"}', 422, "prompt or messages"),
        (b'{"response": "a", "prompt": "b", "messages": []}', 422, "prompt or messages"),
        (b'{"response": "a", "prompt": " "}', 422, "empty"),
        (b'{"response": "a", "messages": []}', 422, "no user message"),
        (b'{"response": "a", "messages": [{"content": "b"}]}', 422, "no role"),
        (b'{"response": "a", "prompt": "b", "siblings": 0}', 422, "siblings"),
        (b'{"response": "a", "prompt": "b", "pass_rate": 1.5}', 422, "pass_rate"),
    ],
)
def test_requests_that_cannot_be_used(service: Any, content: bytes, status: int, said: str) -> None:
    answer = service.client.post("/v1/score", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert said in error(answer)


def test_paths_and_methods_that_are_not_there(service: Any) -> None:
    assert service.client.get("/v1/score").status_code == 405
    assert service.client.get("/v2").status_code == 404
    error(service.client.get("/v1/score"))
    error(service.client.get("/v2"))


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant", "x"]), "content": ANYTHING}
    ),
    max_size=3,
)
COMMON = {
    "prompt": st.text(max_size=30) | MESSAGES | ANYTHING,
    "messages": MESSAGES | ANYTHING,
    "uid": st.text(max_size=5) | ANYTHING,
    "step": st.integers() | ANYTHING,
    "ground_truth": ANYTHING,
    "validation": st.booleans(),
    "task_id": ANYTHING,
    "entry_point": st.text(max_size=5) | ANYTHING,
    "reference": st.text(max_size=20) | ANYTHING,
    "pass_rate": st.floats(0, 1) | ANYTHING,
}
ONE = st.fixed_dictionaries(
    {"response": st.text(max_size=30) | ANYTHING, "alone": st.just(True)},
    optional={**COMMON, "member": ANYTHING, "siblings": ANYTHING},
)
GROUP = st.fixed_dictionaries(
    {"responses": st.lists(st.text(max_size=20), max_size=3) | ANYTHING}, optional=COMMON
)
MANY = st.fixed_dictionaries({"groups": st.lists(GROUP, max_size=2) | ANYTHING})


@example(asked=("/v1/score", {"a\nb": None}))
@settings(max_examples=100)
@given(
    asked=st.tuples(st.just("/v1/score"), ONE | ANYTHING)
    | st.tuples(st.just("/v1/score_batch"), MANY | ANYTHING)
)
def test_no_json_makes_the_service_fail(service: Any, asked: tuple[str, Any]) -> None:
    path, body = asked
    content = json.dumps(body).encode()
    answer = service.client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 413, 422), answer.text
    if answer.status_code != 200:
        error(answer)
