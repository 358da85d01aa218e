"""Graph passes, one file each; ``pipeline.py`` is the ordered list."""
