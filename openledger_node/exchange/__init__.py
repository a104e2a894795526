"""Files between homes and from other systems: bundles, import, export."""
