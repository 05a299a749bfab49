"""Regularizers: each option is a class with some of the eight verbs of `dlreg.reg.base`."""
