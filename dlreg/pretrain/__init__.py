"""Unsupervised training before the training: each option is a class that says what a network learns first, stage by stage."""
