"""dlreg: does this trick help, and by how much?"""

__version__ = "0.1.0"
