"""The `oln` command: parse, call, print."""
