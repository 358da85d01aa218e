"""Memory: lifetimes, arena, views, in-place reuse, and the order of tasks."""
