"""The commands of `oln`, one module a subject; each is imported when it runs."""
