"""Language models and their activations: corpus, labels, the lab's own models, extraction, storage."""
