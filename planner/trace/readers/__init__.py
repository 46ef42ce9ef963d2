"""Readers of trace files, one module per format."""

from __future__ import annotations
