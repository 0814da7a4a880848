"""Inventory plus policy to a plan. Pure: no clock, no I/O; the same input gives the same bytes.

Verbs of this floor: `plan`, `pack`, `judge` (a preflight row), `lint`. Functions here take values, never a port.
"""
