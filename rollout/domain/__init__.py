"""Nouns and tables. Pure: standard library only, no clock, no disk, no network, no print."""
