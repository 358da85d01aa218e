"""Quantised operators of TFLite, in the integers that LiteRT's reference kernels compute.

A handler of ``registry.INTEGERS`` is one for calls that have quantised operands or results;
``convert.MOVES`` are those operators whose other handlers do for integers too.
"""

from . import arithmetic, convert, hybrid, normalize, pools, products, tables

__all__ = ["arithmetic", "convert", "hybrid", "normalize", "pools", "products", "tables"]
