"""The commands of `rifle-ext`."""
