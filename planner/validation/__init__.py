"""Replays published measurements through the kernel, and states the error."""
