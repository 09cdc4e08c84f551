"""Measures a network set on crops, cells, fields and slides that people judged."""
