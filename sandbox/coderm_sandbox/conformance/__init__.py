"""The conformance suite: every property of isolation as one named check, run for real at any level.

`python -m coderm_sandbox check` runs it and shows what each level covers; the tests run the same list.
"""

from coderm_sandbox.conformance.properties import PROPERTIES, Property
from coderm_sandbox.conformance.report import LevelReport, Result, as_json, as_table, check_level

__all__ = ["PROPERTIES", "LevelReport", "Property", "Result", "as_json", "as_table", "check_level"]
