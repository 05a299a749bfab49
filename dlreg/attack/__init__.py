"""Attacks on a fitted model: each option is a class that says which ascents its ladder of columns is made of."""
