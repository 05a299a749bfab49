"""One module per command; each has `run(argv) -> exit status`."""
