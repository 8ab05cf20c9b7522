"""The generator whose tests a model writes: prompts out, responses into the store, suites from the store.

A suite is what the first n slots of the store hold for (prompt, generator identity). Only empty slots are
asked for, by one task of one process at a time, and every response is in the store before anything else
happens to it. So whatever is killed, nothing that had arrived is asked for again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import nullcontext
from typing import Any

import msgspec

from coderm_reward.activity import Activity
from coderm_reward.config import GenerationConfig
from coderm_reward.errors import GenerationError
from coderm_reward.generation.completions import Completion, CompletionBackend, CompletionRequest, Sampling
from coderm_reward.generation.parsing import parse_responses
from coderm_reward.generation.prompt_solutions import PromptSolution, prompt_budget, prompt_solutions
from coderm_reward.generation.prompts import choose_template
from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.stored import StoredResponse
from coderm_reward.types import FAILED, Problem, Solution, TestSuite, content_hash

__all__ = ["NOT_STORED", "ModelGenerator"]

NOT_STORED = f"{FAILED}not_stored"
"""Counter of responses that the store lacks and that there is no model to ask for."""
_SEEDS = 2**30
_log = logging.getLogger("coderm_reward")


class ModelGenerator:
    """Unit tests from a model behind a backend, kept in a store (protocols.GrowingGenerator).

    Args:
        backend: who answers; None takes what the store has and asks nobody.
        store: where responses are kept; open, and closed by whoever opened it.
        config: model, template, sampling, and how many responses a prompt gets where no budget says.
        identity: take the suites of this generator of the store, without asking anybody; by default what
            the settings make.
        on_completion: hears of every completion as it arrives, failures included.
        activity: adds up how long anything was "generating".
    """

    def __init__(
        self,
        backend: CompletionBackend | None,
        store: SuiteStore,
        config: GenerationConfig,
        *,
        identity: str | None = None,
        on_completion: Callable[[Completion], None] | None = None,
        activity: Activity | None = None,
    ) -> None:
        self._backend = backend
        self._store = store
        self._config = config
        self._on_completion = on_completion
        self._activity = activity
        self._template = choose_template(config.template, config.model)
        self._sampling = Sampling(config.temperature, config.top_p, config.max_tokens)
        self._description: dict[str, Any] = {
            "model": config.model,
            "template": self._template.identity,
            **msgspec.structs.asdict(self._sampling),
            "seed": config.generation_seed,
        }
        self._identity = identity or " ".join(
            value if name == "model" else f"{name}={value}" for name, value in self._description.items()
        )

    @property
    def identity(self) -> str:
        """Model, template with a hash of its text, and sampling: what keeps suites apart in a store."""
        return self._identity

    @property
    def store(self) -> SuiteStore:
        """Where its responses are kept."""
        return self._store

    def fingerprint(self, problem: Problem) -> str:
        """Identity and default number of responses; a stored response never changes."""
        return content_hash(self._identity, str(self._config.responses))

    def missing(self, problem: Problem, n: int | None = None) -> int:
        """Return how many of the first `n` responses for this prompt are not in the store."""
        return len(self._store.missing(problem.prompt_hash, self._identity, n or self._config.responses))

    async def generate(self, problem: Problem, solutions: Sequence[Solution], n: int | None) -> TestSuite:
        """Return the suite of the first `n` responses (None: `config.responses`), asking for what is missing.

        `dropped` counts by kind (`failed_timeout`, ...) the responses that could not be had. Raises
        GenerationError if that is all of them, unless it is the prompt's fault, or if the store fails.
        """
        began = time.perf_counter()
        wanted = n or self._config.responses
        failures: list[Completion] = []
        if self._backend is not None:
            await self._fill(self._backend, problem, solutions, wanted, failures, asyncio.Event())
        return await self._whole(problem, wanted, failures, began)

    async def growing(
        self, problem: Problem, solutions: Sequence[Solution], n: int | None
    ) -> AsyncGenerator[TestSuite, None]:
        """Yield the suite so far while responses arrive, and last the whole one; see `generate`."""
        began = time.perf_counter()
        wanted = n or self._config.responses
        failures: list[Completion] = []
        if self._backend is not None and self._store.missing(problem.prompt_hash, self._identity, wanted):
            news = asyncio.Event()
            news.set()  # what is there already can run at once
            filling = asyncio.create_task(
                self._fill(self._backend, problem, solutions, wanted, failures, news)
            )
            filling.add_done_callback(lambda _: news.set())
            try:
                while await news.wait() and not filling.done():
                    news.clear()
                    if self._store.responses(problem.prompt_hash, self._identity, wanted):
                        yield await self._suite(problem, wanted, complete=False)
                await filling
            finally:
                filling.cancel()
                await asyncio.gather(filling, return_exceptions=True)
        yield await self._whole(problem, wanted, failures, began)

    async def _fill(
        self,
        backend: CompletionBackend,
        problem: Problem,
        solutions: Sequence[Solution],
        n: int,
        failures: list[Completion],
        news: asyncio.Event,
    ) -> None:
        """Ask for the empty slots and store each response as it arrives."""
        async with self._store.claim(problem.prompt_hash, self._identity, n) as slots:
            if not slots:
                return
            shown = await asyncio.to_thread(self._shown, problem, solutions)
            asked = {request.key: (request, owed) for request, owed in self._requests(problem, slots, shown)}
            with self._activity.of("generating") if self._activity else nullcontext():
                answers = backend.complete([request for request, _ in asked.values()], self._sampling)
                try:
                    async for completion in answers:
                        request, owed = asked[completion.key]
                        slot = owed[completion.choice]
                        if completion.failure is not None:
                            failures.append(completion)
                        else:
                            response = self._response(completion, slot, self._turn(slot, shown), request)
                            await self._store.append(
                                problem, self._identity, [response], description=self._description
                            )
                            news.set()
                        if self._on_completion is not None:
                            self._on_completion(completion)
                finally:
                    if isinstance(answers, AsyncGenerator):
                        await answers.aclose()

    def _shown(self, problem: Problem, solutions: Sequence[Solution]) -> tuple[PromptSolution, ...]:
        """The solutions that take turns in this problem's prompts."""
        (frame,) = self._template.messages(problem.question, " ")
        room = prompt_budget(self._config.context, self._config.max_tokens) - len(frame.content)
        return prompt_solutions(problem, solutions, room)

    def _turn(self, slot: int, shown: Sequence[PromptSolution]) -> PromptSolution:
        """Whose turn it is in a slot's prompt; the slots of one request share their prompt."""
        return shown[slot // self._config.choices_per_request % len(shown)]

    def _requests(
        self, problem: Problem, slots: Sequence[int], shown: Sequence[PromptSolution]
    ) -> list[tuple[CompletionRequest, list[int]]]:
        """One request for each run of empty slots that share a prompt, with the slots it is to fill.

        The seed of a text is its prompt's plus its slot: text i of a request draws with the seed + i.
        """
        runs: list[list[int]] = []
        for slot in slots:
            if runs and slot == runs[-1][-1] + 1 and slot % self._config.choices_per_request:
                runs[-1].append(slot)
            else:
                runs.append([slot])
        requests = []
        for run in runs:
            messages = self._template.messages(problem.question, self._turn(run[0], shown).code)
            of_prompt = content_hash(str(self._config.generation_seed), *(m.content for m in messages))
            seed = int(of_prompt, 16) % _SEEDS + run[0]
            requests.append((CompletionRequest(str(run[0]), messages, seed, len(run)), run))
        return requests

    def _response(
        self, completion: Completion, slot: int, solution: PromptSolution, request: CompletionRequest
    ) -> StoredResponse:
        return StoredResponse(
            slot=slot,
            text=completion.text,
            finish_reason=completion.finish_reason,
            solution=solution.id,
            solution_source=solution.code,
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            seconds=completion.seconds,
            seed=request.seed + completion.choice,
        )

    async def _suite(self, problem: Problem, n: int, *, complete: bool) -> TestSuite:
        """The suite of what the first `n` slots hold now, parsed outside the event loop."""
        responses = self._store.responses(problem.prompt_hash, self._identity, n)
        suite = await asyncio.to_thread(
            parse_responses,
            [response.text for response in responses],
            problem.entry_point,
            problem.prompt_hash,
            prompted_by=[response.solution for response in responses],
        )
        slots = [response.slot for response in responses]
        return msgspec.structs.replace(
            suite,
            tests=tuple(msgspec.structs.replace(test, response=slots[test.response]) for test in suite.tests),
            prompt_tokens=sum(response.prompt_tokens for response in responses),
            completion_tokens=sum(response.completion_tokens for response in responses),
            complete=complete,
        )

    async def _whole(
        self, problem: Problem, wanted: int, failures: Sequence[Completion], began: float
    ) -> TestSuite:
        """The whole suite with its missing responses counted.

        Raises:
            GenerationError: there is no response at all, for reasons other than the prompt.
        """
        suite = await self._suite(problem, wanted, complete=True)
        told = [completion.failure for completion in failures if completion.failure is not None]
        counts = Counter(f"{FAILED}{failure.kind}" for failure in told)
        counts[NOT_STORED] = wanted - suite.responses - len(told)
        too_long = [failure for failure in told if failure.kind == "too_long"]
        if too_long:
            _log.warning("prompt %s: %s", problem.task_id or problem.prompt_hash, too_long[0].message)
        others = [failure for failure in told if failure.kind != "too_long"]
        if not suite.responses and others:
            raise GenerationError(others[0].message)
        dropped = dict(sorted((+counts + Counter(suite.dropped)).items()))
        return msgspec.structs.replace(suite, dropped=dropped, seconds=time.perf_counter() - began)
