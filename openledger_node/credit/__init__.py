"""The fold: the deterministic reward function, its statements and explanations. Pure."""
