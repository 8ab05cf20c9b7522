"""Endless loops for the workload, one pair each: real solutions that hang on the inputs of one test class.

A real solution gets one statement at the head of its function: if the arguments are those of the class's
first call, loop for ever. No other class of the problem calls the function with these arguments, and the
solution does not call itself, so that exactly one pair becomes endless: the reference has to confirm it.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Sequence

from workload import Problem

__all__ = ["Loop", "calls", "candidates", "choose_loops", "loops_wanted", "with_loop", "with_loops"]

Loop = tuple[int, int]
"""Indices of a solution and of the test that it hangs on, within one problem."""


def loops_wanted(pairs: int, percent: float) -> int:
    """How many pairs are endless; at least one if any are wanted."""
    return max(1, round(pairs * percent / 100)) if percent > 0 else 0


def calls(test: str, name: str) -> list[str | None]:
    """The positional arguments of each call of the function, as normalised literals; None if no literals."""
    found: list[tuple[int, int, str | None]] = []
    for node in ast.walk(ast.parse(test)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            text: str | None
            try:
                text = repr(tuple(ast.literal_eval(argument) for argument in node.args))
            except (ValueError, TypeError):
                text = None
            found.append((node.lineno, node.col_offset, None if node.keywords else text))
    return [text for _, _, text in sorted(found, key=lambda call: call[:2])]


def _function(solution: str) -> ast.FunctionDef | None:
    """The function that the tests call: the last one at module level, as CodeT's prompts end with it."""
    found = [node for node in ast.parse(solution).body if isinstance(node, ast.FunctionDef)]
    return found[-1] if found else None


def with_loop(solution: str, arguments: str) -> str | None:
    """The solution, hanging when called with these arguments; None if its shape does not allow it."""
    function = _function(solution)
    if function is None or function.args.vararg or function.args.kwonlyargs or function.args.kwarg:
        return None
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    if len(names) != len(ast.literal_eval(arguments)):
        return None
    if any(isinstance(node, ast.Name) and node.id == function.name for node in ast.walk(function)):
        return None  # it may call itself with these arguments on another test
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body or isinstance(body[0], (ast.FunctionDef, ast.ClassDef)):  # decorators come before its line
        return None
    first = body[0]
    lines = solution.splitlines(keepends=True)
    line = lines[first.lineno - 1]
    indent = line[: len(line) - len(line.lstrip())]
    if len(indent) != first.col_offset:
        return None
    head = f"{indent}if ({', '.join(names)},) == {arguments}:\n"
    loop = f"{head}{indent}    while True:\n{indent}        pass\n"
    return "".join([*lines[: first.lineno - 1], loop, *lines[first.lineno - 1 :]])


def candidates(problem: Problem, offset: int = 0) -> Iterator[tuple[Loop, str]]:
    """Every pair of the problem that can be made endless alone, with the changed solution.

    `offset` says with which test to begin, so that not every problem hangs in the same place.
    """
    for shift, solution in itertools.product(range(len(problem.tests)), range(len(problem.solutions))):
        test = (solution + shift + offset) % len(problem.tests)
        function = _function(problem.solutions[solution])
        if function is None:
            continue
        made = [calls(text, function.name) for text in problem.tests]
        first = made[test][0] if made[test] else None
        if first is None or any(first in one for i, one in enumerate(made) if i != test):
            continue
        text = with_loop(problem.solutions[solution], first)
        if text is not None:
            yield (solution, test), text


def choose_loops(
    problems: Sequence[Problem], wanted: int, reference: Callable[[Problem], Sequence[str]]
) -> list[dict[Loop, str]]:
    """Per problem, which pairs to make endless and the changed solutions; in turn, as evenly as it goes.

    Args:
        reference: the verdicts of a problem's pairs, solution by solution; one that says anything but a
            timeout of exactly the wanted pair has the next candidate taken. Where there are too few, the
            result is short.
    """
    chosen: list[dict[Loop, str]] = [{} for _ in problems]
    waiting = [candidates(problem, number) for number, problem in enumerate(problems)]
    left = set(range(len(problems)))
    while left and sum(map(len, chosen)) < wanted:
        for number in sorted(left):
            if sum(map(len, chosen)) == wanted:
                break
            for loop, text in waiting[number]:
                if loop[0] in {solution for solution, _ in chosen[number]}:
                    continue
                verdicts = reference(Problem(problems[number].name, (text,), problems[number].tests))
                if [i for i, verdict in enumerate(verdicts) if verdict == "timeout"] == [loop[1]]:
                    chosen[number][loop] = text
                    break
            else:
                left.discard(number)
    return chosen


def with_loops(problem: Problem, loops: dict[Loop, str]) -> Problem:
    """The problem with these of its solutions changed."""
    texts = list(problem.solutions)
    for (solution, _), text in loops.items():
        texts[solution] = text
    return Problem(problem.name, tuple(texts), problem.tests)
