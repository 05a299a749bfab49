"""Networks: each option is a Module `(shape, classes, norm, *, ...)` that maps a batch of samples to logits `(N, K)`."""
