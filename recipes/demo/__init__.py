"""The bundled demonstration model, from a word list to a hub directory, by espeak-ng alone."""
