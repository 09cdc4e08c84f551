"""Makes a network set from annotated fields and crops: LR, HR and the slide's RNNs."""
