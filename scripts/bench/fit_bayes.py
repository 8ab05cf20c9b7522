"""Choose the constants of the `bayes` aggregator on one half of the problems and judge them on the other.

    python scripts/bench/fit_bayes.py SET... --truth TRUTH [--draws 6] [--json]

Each SET is a sidecar of group records (scored.groups.jsonl); scripts/bench/real_data.py makes them. Problems
whose task number is a multiple of four are tuned on, the others held out. Printed are best-of-N and AUC of
the posterior's constants, changed one at a time, on both halves; and the logistic weights of `p_correct`,
fitted on the first half, with Brier score and calibration error on the second, against the plain pass
fraction.

A set whose groups pass more than 30 test classes on average counts as two: as it is, and with its problems
weighted to pass rate 0.55, which is what a policy in training is worth having at.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from coderm_reward.ablation.groups import AblationGroup, ablation_group, make_draw, take
from coderm_reward.ablation.weights import group_weights
from coderm_reward.data.records import read_records
from coderm_reward.data.truth import read_truth
from coderm_reward.scoring.aggregators import PROMOTION, bayes_parts
from coderm_reward.scoring.bayes import DEFAULT_MODEL, ClusterModel
from coderm_reward.scoring.metrics import best_of_n, within_group_auc
from coderm_reward.scoring.votes import Ballots, BoolArray, FloatArray, count_votes

ROLLOUTS = (16,)
BUDGETS = (2, 8, 64)
CHANGES: dict[str, ClusterModel] = {"as it is": DEFAULT_MODEL} | {
    f"{name} = {value}": msgspec.structs.replace(DEFAULT_MODEL, **{name: value})
    for name, values in {
        "cell_temper": (0.01, 0.02, 0.05, 0.1, 1.0),
        "class_temper": (0.0, 0.1, 0.3, 1.0),
        "copies": (0.0, 1.0),
        "wrong_on_wrong": ((1.0, 8.0), (1.0, 128.0), (1.0, 1.0)),
        "right_methods": ((1.0, 1.0), (4.0, 1.0)),
    }.items()
    for value in values
}

Sample = tuple[float, Ballots, BoolArray]
"""(weight, votes, truth) of one draw."""


def samples(groups: Sequence[AblationGroup], budget: int, draws: int, rate: float | None) -> Iterator[Sample]:
    """Draws of rollouts and tests, each group weighing as `rate` asks."""
    weights = group_weights([group.truth.mean() for group in groups], rate)
    for weight, group in zip(weights, groups, strict=True):
        for number in range(draws):
            for rollouts in ROLLOUTS:
                draw = make_draw(group, rollouts, 11, number)
                _, matrix = take(group, draw.rows, draw.order[:budget])
                yield weight / draws, count_votes(matrix, "method", "weight"), group.truth[draw.rows]


def quality(drawn: Sequence[Sample], score: Callable[[Ballots], FloatArray]) -> tuple[float, float]:
    """(best-of-N, within-group AUC) of a score."""
    best, auc = [], []
    for weight, ballots, truth in drawn:
        values = np.nan_to_num(score(ballots))
        best.append((weight, best_of_n(values, truth)))
        found = within_group_auc(values, truth)
        auc += [] if found is None else [(weight, found)]
    return tuple(float(np.average([v for _, v in x], weights=[w for w, _ in x])) for x in (best, auc))  # type: ignore[return-value]


def b4(ballots: Ballots) -> FloatArray:
    """B4 as published (arXiv 2409.08692), for comparison: one rate for all wrong solutions, untempered.

    The right cluster passes the right tests; priors Beta(1, 1), and Beta(1, 1000) for a wrong solution on a
    wrong test.
    """
    passed = ballots.parts.passed.astype(np.float64)
    same = (passed[:, None, :] == passed[None, :, :]).all(axis=2)
    size, right, votes = same.sum(axis=1), passed.sum(axis=1), passed.shape[1]
    hits = np.where(same, 0.0, passed @ passed.T).sum(axis=1)
    strays = np.where(same, 0.0, (1.0 - passed) @ passed.T).sum(axis=1)
    wrong = len(passed) - size
    log_beta = np.frompyfunc(lambda a, b: math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b), 2, 1)
    total = log_beta(hits + 1, wrong * right - hits + 1) + log_beta(size + 1, wrong + 1)
    total += log_beta(strays + 1, wrong * (votes - right) - strays + 1000) + log_beta(
        right + 1, votes - right + 1
    )
    return np.asarray(total, dtype=np.float64)


def spectral(ballots: Ballots) -> FloatArray:
    """The first principal component of the method votes, its sign such that who passes more scores more."""
    passed = ballots.parts.passed.astype(np.float64)
    centred = passed - passed.mean(axis=0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    first = vectors[:, -1] if values[-1] > 1e-9 else np.zeros(len(passed))
    return first * (1.0 if first @ passed.sum(axis=1) >= 0.0 else -1.0)


def stacked(drawn: Sequence[Sample]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """(weight, truth, features, fraction) of every rollout that can be scored."""
    parts = []
    for weight, ballots, truth in drawn:
        fraction, _, features = bayes_parts(ballots)
        on = ballots.eligible
        parts.append((np.full(on.sum(), weight / truth.size), truth[on], features[on], fraction[on]))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]


def logistic(weight: FloatArray, truth: FloatArray, x: FloatArray, ridge: float = 1e-4) -> FloatArray:
    """Newton's method for a weighted logistic regression, with a little ridge."""
    b, w = np.zeros(x.shape[1]), weight / weight.sum()
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-x @ b))
        gradient = x.T @ (w * (p - truth)) + ridge * b
        step = np.linalg.solve((x * (w * p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(b)), gradient)
        b -= step
        if np.abs(step).max() < 1e-9:
            break
    return b


def calibration(weight: FloatArray, truth: FloatArray, p: FloatArray) -> tuple[float, float]:
    """(Brier score, mean gap between promise and truth over ten equal bins of p)."""
    brier = float(np.average((p - truth) ** 2, weights=weight))
    bins = np.minimum((p * 10).astype(int), 9)
    gaps = [abs(np.sum(weight[bins == k] * (p - truth)[bins == k])) for k in range(10)]
    return brier, float(sum(gaps) / weight.sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=Path, help="sidecars of group records")
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    halves: dict[str, dict[str, list[Sample]]] = {"tuned": {}, "held out": {}}
    for path in options.sets:
        records = list(read_records(path))
        truths = read_truth(options.truth, records)
        groups = [ablation_group(r, t) for r, t in zip(records, truths, strict=True) if t is not None]
        strong = np.mean([len(group.responses) for group in groups]) > 30
        for half in halves:
            part = [g for g in groups if _tuned(g) == (half == "tuned") and g.responses]
            for budget in BUDGETS if strong else (10**6,):
                for rate in (None, 0.55) if strong else (None,):
                    tests = budget if strong else "all"
                    name = f"{path.name.split('.')[0]} {tests}" + (f" at {rate}" if rate else "")
                    halves[half][name] = list(samples(part, budget, options.draws, rate))
    figures: dict[str, object] = {"constants": _constants(halves)}
    columns = {half: [stacked(drawn) for drawn in sets.values()] for half, sets in halves.items()}
    weight, truth, features, _ = (np.concatenate(c) for c in zip(*columns["tuned"], strict=True))
    weights = logistic(weight, truth, features)
    print(f"\nweights of p_correct: {np.round(weights, 3).tolist()}")
    print(
        f"{'held out':24}{'p_correct':>20}{'pass fraction':>20}{'constant':>12}   (Brier / calibration error)"
    )
    for name, (w, y, x, fraction) in zip(halves["held out"], columns["held out"], strict=True):
        ours, plain = calibration(w, y, 1.0 / (1.0 + np.exp(-x @ weights))), calibration(w, y, fraction)
        base = np.average(y, weights=w)
        print(
            f"{name:24}{ours[0]:>12.3f} / {ours[1]:.3f}{plain[0]:>12.3f} / {plain[1]:.3f}"
            f"{base * (1 - base):>12.3f}"
        )
        figures[name] = {"brier": ours[0], "calibration_error": ours[1], "fraction_brier": plain[0]}
    if options.json:
        print(json.dumps({"weights": weights.tolist(), **figures}))


def _constants(halves: dict[str, dict[str, list[Sample]]]) -> dict[str, dict[str, list[float]]]:
    """Print, and return, what each change of a constant does to the mean over the sets."""
    names = list(halves["tuned"])
    print(f"best-of-16 / AUC on {', '.join(names)}, and their means\n")
    found: dict[str, dict[str, list[float]]] = {}
    for change, model in {"fractions": None, "B4": b4, "spectral": spectral, **CHANGES}.items():

        def score(ballots: Ballots, model: Any = model) -> FloatArray:
            if callable(model):
                return np.nan_to_num(model(ballots))
            fraction, posterior, _ = bayes_parts(ballots, model or DEFAULT_MODEL)
            return fraction if model is None else fraction * (1.0 + PROMOTION * posterior)

        found[change] = {}
        for half, sets in halves.items():
            pairs = [quality(drawn, score) for drawn in sets.values()]
            means = np.mean(pairs, axis=0).tolist()
            found[change][half] = means
            listed = "  ".join(f"{best:.3f}/{auc:.3f}" for best, auc in pairs)
            print(f"{change:28}{half:10}{listed}   {means[0]:.4f}/{means[1]:.4f}", flush=True)
    return found


def _tuned(group: AblationGroup) -> bool:
    number = re.search(r"(\d+)$", group.problem.task_id or "")
    return number is None or int(number[1]) % 4 == 0


if __name__ == "__main__":
    main()
