"""Regions for a GPU: what OpenCL runs of a model, as a program the runtime reads."""
