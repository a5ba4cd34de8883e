"""What the weights of a model mean, so that another model can take over those that mean the same."""
