"""What ``lower`` takes: see ``compiler/ir/group.py``."""

from armlet.compiler.ir.group import Group, is_immediate

__all__ = ["Group", "is_immediate"]
