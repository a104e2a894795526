"""A home: wires store, agreement, fold and attribution together, and owns the clock."""
