"""Kernels for cores that issue in order: assembly that this package schedules itself.

pipeline.py    what a core can issue together, as data from the target
schedule.py    a loop's body -> which instruction issues in which cycle, and registers
tile.py        the register tile of convolutions and matrix products, as such a body
straight.py    straight-line code -> its order of issue, and registers
winograd.py    the transforms of Winograd's convolution, as such code
fetch.py       loads of nothing, for lines that the core does not foresee
assembly.py    a scheduled tile -> an LLVM function that TVM's loops call and LLVM inlines
"""
