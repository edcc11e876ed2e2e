"""Training: recipes, batches, and the engine that fits one network or many."""
