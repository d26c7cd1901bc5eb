"""Per-layer laws: how the error of sparse autoencoders falls with width and sparsity at one layer.

``sparsity`` reads measured errors at a common number of active latents; ``surface`` fits the law without a
floor; ``floors`` the law with one, and how sure its floor is; ``filters`` are the paper's monotone filters;
``attenuation`` says how much a floor hides in an exponent; ``rivals`` compares forms; ``planted`` checks that
fits find what was put in; ``uncertainty`` draws data again; ``lab`` and ``tables`` make the chapter's tables.
"""
