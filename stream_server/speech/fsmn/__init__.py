"""FSMN-VAD: FunASR's voice activity detection, in numpy, many streams at once. `docs/vad.md`."""
