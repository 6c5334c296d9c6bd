"""How far a network's answers are from those that a teacher gives on the same batch."""
