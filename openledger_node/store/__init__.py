"""What a home keeps on disk: logs, heads, payloads and folded state, in LMDB."""
