"""Sound: bytes to samples at 16 kHz, buffers with absolute indices, windows."""
