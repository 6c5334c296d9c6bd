"""What a training did, after it: its curves, its resets, how it recovered, how far it moved."""
