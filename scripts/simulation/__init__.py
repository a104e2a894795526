"""The simulator: whole nodes' cores under a virtual clock, on links that lose, delay and break.

    scripts/simulate --seeds 1000

A seed decides everything: what is written, what the links do, who crashes and when. The same seed
plays the same run again. Nothing here is part of the product.
"""
