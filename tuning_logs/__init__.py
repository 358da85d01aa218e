"""Tuning records that are shipped: a file for each fingerprint, read by ``compiler/records.py``."""
