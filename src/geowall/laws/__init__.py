"""Laws across layers: which exponent a layer has, what predicts it, and how sure anyone can be.

``scaling`` fits the law of each layer. ``published`` holds the numbers of the paper and ``layers`` puts them
and measured ones into one table; ``features`` turns a layer's summaries into regressors; ``ols`` fits;
``regression`` ranks hypotheses and carries a law from one model to another; ``printed`` compares with the
paper. The rest asks whether the answer deserves belief: ``baselines``, ``leverage``, ``nulls`` and
``bootstrap`` of any layers; ``twins``, ``noise``, ``variants``, ``pooled`` and ``identity`` of measured ones.
``verdict`` adds up.
"""
