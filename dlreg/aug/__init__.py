"""Augmentations: regularizers that implement `batch` alone, on x in [0, 1] and class-probability targets."""
