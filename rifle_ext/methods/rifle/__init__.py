"""RIFLE: re-initialize the output layers several times during fine-tuning."""
