"""Data sources: each option is a function `(root, download, *, ...) -> Dataset`."""
