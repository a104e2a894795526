"""Epochs, cuts and votes: when credit is final. A state machine, events in, events out. Pure."""
