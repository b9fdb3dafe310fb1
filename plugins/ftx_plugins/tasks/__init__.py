"""What the steps need to know of each task: how its targets are read, learnt and scored."""
