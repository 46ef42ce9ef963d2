"""Functional forms of curves, one file each; `registry` finds them by name."""
