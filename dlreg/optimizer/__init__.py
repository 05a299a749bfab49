"""Optimizers: each option is a function or class `(params, *, lr, ...) -> Optimizer`; torch's own wherever it has one.

Below, g is the gradient of the loss at w and lr the scheduled rate.
"""
