"""Curves that ship with the package, and the script that remakes them."""
