"""The wall: what the other chapters have measured, brought to bear on the claims of three papers.

``rules``, ``evidence`` and the modules ``claims_*`` say what is claimed and when it counts as reproduced;
``verdicts`` judges. ``floors``, ``theory`` and ``regimes`` ask where a layer's error stops, what bends its
law, and how dictionaries share themselves out. ``cells``, ``prior``, ``planner``, ``calibrate``, ``holdout``
and ``advice`` predict the error of a wide dictionary from a few narrow ones.
"""
