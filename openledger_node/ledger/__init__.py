"""Bytes, keys, events, Merkle trees, logs, heads, proofs, forks and the genesis. Pure."""
