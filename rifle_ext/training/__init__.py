"""What a method may see and do in a training, whatever the method."""
