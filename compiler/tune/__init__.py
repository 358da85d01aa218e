"""The tuner: searches the templates' configs by building and measuring kernels.

``tasks`` finds what a model spends its time on, ``points`` lists the ways to compute it,
``search`` decides which to try next by what ``ranker`` learned, ``build`` makes kernels,
``runner`` runs them in a process of its own, ``measure`` drives it, ``tuner`` does it all and
keeps records.
"""
