"""Which layers of a model are its output layers."""
