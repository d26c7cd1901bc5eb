"""Laws across layers: which exponent a layer has, what predicts it, and how sure anyone can be.

``published`` holds the numbers of the paper; ``features`` turns a layer's summaries into regressors;
``ols`` fits; ``regression`` ranks hypotheses and carries a law from one model to another; ``printed``
compares with the paper; ``baselines``, ``leverage``, ``nulls`` and ``bootstrap`` ask whether the answer
deserves belief; ``verdict`` adds up.
"""
