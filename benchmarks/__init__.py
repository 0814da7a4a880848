"""Budgets, measured: `make bench` prints each as a figure beside its budget. Not part of the tests."""
