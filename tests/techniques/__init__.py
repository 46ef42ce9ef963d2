"""Each serving technique against what is published about it."""
