"""Per-layer laws: how the error of sparse autoencoders falls with width and sparsity at one layer.

``sparsity`` and ``grid`` read measured errors at a common number of active latents; ``surface`` and
``exponents`` fit the law without a floor; ``floors`` the law with one at a sparsity, ``surfaces`` at all
of them; ``intervals``, ``redrawn`` and ``uncertainty`` say how sure a floor or an exponent is;
``agreement`` sets floors beside the printed ones; ``filters`` are the paper's monotone filters, and
``planted`` tests fits and filters on floors that are known; ``attenuation`` says how much a floor hides in
an exponent; ``rivals`` compares forms; ``lab``, ``printed`` and ``tables`` shape what chapters read.
"""
