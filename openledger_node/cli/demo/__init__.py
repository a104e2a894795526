"""The play of `oln demo`: real documents, separate homes, and files that go between them."""
