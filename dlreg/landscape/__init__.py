"""Optimizers on surfaces of two weights."""
