"""Measure an accelerator's kernels: the operator timings that `planner fit` turns into curves.

What to measure (`cases`, `models`) and how to time it (`timing`, `runner`) knows nothing of any
framework; `torch_device`, `torch_kernels` and `collectives` bring PyTorch in, when they are called.
"""
