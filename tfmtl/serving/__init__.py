"""From a model in memory to answers over the network."""
