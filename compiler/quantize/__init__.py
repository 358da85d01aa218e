"""From a float model and data like its own to one whose layers are computed in integers."""
