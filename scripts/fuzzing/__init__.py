"""Fuzzing: a table of everything that turns bytes from outside into values.

    scripts/fuzz-atheris --list
    scripts/fuzz-atheris "a sync frame" -max_total_time=600

The suite feeds the same table random and altered bytes (`tests/scripts/test_decoders.py`); the
program here looks for more with coverage to guide it. Nothing of it is part of the product.
"""
