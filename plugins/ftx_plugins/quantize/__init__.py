"""Steps of the stage `quantize`: decide on a recipe for a checkpoint, or carry it out on a bundle."""
