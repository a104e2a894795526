"""Attacks on a synthetic co-operative, played against the real rules: `oln simulate`."""
