"""dlreg: overrides -> checked settings -> built objects."""
