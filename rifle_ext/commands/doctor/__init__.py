"""`rifle-ext doctor`: whether the installation is all right, and how to mend it."""
