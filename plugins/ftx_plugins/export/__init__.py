"""Steps of the stage `export`: turn a checkpoint into variants of a bundle, each checked against the torch model."""
