"""Measurements of rifle-ext."""
