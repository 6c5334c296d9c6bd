"""Every trainable config of PaddleSeg and PaddleDetection through `rifle-ext plan`."""
