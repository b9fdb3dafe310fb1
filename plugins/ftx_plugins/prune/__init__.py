"""Steps of the stage `prune`: a smaller checkpoint. What is removed is gone from the weights; nothing is masked."""
