"""Tuning records that are shipped: ``<name>.jsonl``, read by ``compiler/records.py``."""
