"""Losses: each option is a class whose instances are called with a network's outputs and the targets.

Below, z are the outputs for one sample, $p = softmax(z)$, and y is its target: class probabilities that sum to 1 (one-hot
unless mixup, label smoothing and the like mixed them), or values.
"""
