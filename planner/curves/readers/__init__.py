"""Readers of other people's timing tables."""
