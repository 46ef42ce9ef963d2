"""What-if analysis in a notebook: controls over a scenario, simulated again as they are moved."""
