"""The kernels, estimators and laws behind *The Geometric Wall*.

The floors of the package, from the ground up (an import never goes up):
``paths`` < ``kernels``, ``manifolds`` < ``allocation``, ``sae``, ``geometry`` < ``language`` < ``laws``,
``projections``, ``census`` < ``wall`` < ``figures`` < ``runs`` < ``site`` < ``__main__``.
"""

__version__ = "0.1.0"
