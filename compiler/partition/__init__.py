"""Which parts of a model an accelerator takes, and the CPU's plan around them.

``partition.py`` decides, ``regions.py`` finds the sets of calls that can be one step, ``parts.py``
cuts the function at their borders, ``prices.py`` says what the CPU takes for the same, ``blobs.py``
has back ends compile what is theirs, ``report.py`` is what users are told.
"""
