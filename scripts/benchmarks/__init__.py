"""What openledger-node costs, measured on this machine; see docs/guide/benchmarks.md."""
