"""Trackers: each option is a class that is told how a run goes and passes it on, to a file or to a program of others."""
