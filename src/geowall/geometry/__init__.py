"""The geometry of a cloud of activations: dimension, curvature, surrogates, calibration, pullback metric."""
