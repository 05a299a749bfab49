"""Normalization: each option is a function `(layer, *, ...) -> Module` that stands in the place of a weight layer.

It acts before the nonlinearity. The layer's own bias is dropped where the normalization would cancel or repeat it.
"""
