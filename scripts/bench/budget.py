"""Measure what deciding about budgets and aggregating votes costs.

    python scripts/bench/budget.py [--prompts 100000] [--repeat 5] [--json]

Prints one table; with --json the last line is one JSON object. No figure needs data or an accelerator.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time

from aggregation import aggregation_figures
from allocation import allocation_figures
from figures import table

LIMITS = {
    "greedy_best_of_n_s": 1.0,
    "greedy_advantage_s": 1.0,
    "uniform_s": 1.0,
    "price_best_of_n_us": 20.0,
    "price_advantage_us": 20.0,
    "peak_mb": 500.0,
    "majority_ms": 5.0,
    "majority_consensus_ms": 5.0,
    "dual_agreement_ms": 5.0,
    "combined_ms": 5.0,
    "bayes_ms": 5.0,
}
"""What each figure is meant to stay below."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=100_000, help="prompts to allocate for")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, of which the median counts")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    if min(arguments.prompts, arguments.repeat) < 1:
        sys.exit("--prompts and --repeat must be at least 1.")
    figures = allocation_figures(arguments.prompts, arguments.repeat) | aggregation_figures()
    hardware = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Linux {platform.release()}"
    print(f"{hardware}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}\n")
    rows = [(name, f"{value:g}", f"{LIMITS[name]:g}") for name, value in figures.items()]
    print(table(("figure", "measured", "limit"), rows))
    if arguments.json:
        print(json.dumps({"hardware": hardware, "prompts": arguments.prompts, **figures}))


if __name__ == "__main__":
    main()
