"""Many experiments: a grid of overrides, a study file, what is missing of them, the workers that run it."""
