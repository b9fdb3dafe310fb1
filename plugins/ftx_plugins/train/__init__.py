"""Fine-tuning: from a pretrained encoder and a data set to a checkpoint."""
