"""What fresh values output layers get, and how they are written."""
