"""A first scenario from a few wishes: what is not said is taken from the catalogue, and named."""

from planner.starter.fleet import Fleet, choose_fleet
from planner.starter.text import scenario_text
from planner.starter.traffic import Traffic, traffic_from_trace, traffic_of
from planner.starter.wishes import Wishes

__all__ = [
    "Fleet",
    "Traffic",
    "Wishes",
    "choose_fleet",
    "scenario_text",
    "traffic_from_trace",
    "traffic_of",
]
