"""Initialization: each option is a function `(layer, generator, *, ...) -> None` that fills one layer.

It is applied to every linear and convolutional layer; biases become zero. n_in and n_out count the connections of a
unit: for a convolution, channels times the kernel's area.
"""
