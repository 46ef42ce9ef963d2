"""Scenarios: YAML text with units, checked as a whole, every value with the place it came from.

`load_checked` reads a file and reports all its faults; `load_scenario` does so without a catalogue.
"""

from planner.scenario.checks import changed, check_scenario, load_checked, notices
from planner.scenario.json_schema import json_schema, json_schema_text
from planner.scenario.load import LoadedScenario, load_scenario
from planner.scenario.replicas import (
    ReplicaLayout,
    draft_dtypes_of,
    draft_of,
    dtypes_of,
    kv_blocks_of,
    parallelism_of,
    pool_memory,
    replicas_of,
    sequence_tokens_of,
    step_limits_of,
)
from planner.scenario.schema import Scenario

__all__ = [
    "LoadedScenario",
    "ReplicaLayout",
    "Scenario",
    "changed",
    "check_scenario",
    "draft_dtypes_of",
    "draft_of",
    "dtypes_of",
    "json_schema",
    "json_schema_text",
    "kv_blocks_of",
    "load_checked",
    "load_scenario",
    "notices",
    "parallelism_of",
    "pool_memory",
    "replicas_of",
    "sequence_tokens_of",
    "step_limits_of",
]
