"""Links between machines."""
