"""Autoencoders as projections: which concepts each architecture can see, and what that costs.

>>> from geowall.projections.scenes import Ring
>>> Ring().names[:2]
['outer 0', 'inner 60']
"""
