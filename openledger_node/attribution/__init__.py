"""Which data an output draws from, in integers that anyone can recompute. Pure."""
