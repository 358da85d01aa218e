"""The compiler: IR, operators, passes, selection, lowering, planning and linking."""
