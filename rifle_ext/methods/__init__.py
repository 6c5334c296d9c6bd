"""One folder for each method; none knows another."""
