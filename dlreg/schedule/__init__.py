"""Learning-rate schedules: each option is a pure function `(progress, *, ...) -> multiplier` of the base rate."""
