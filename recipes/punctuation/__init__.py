"""How the bundled punctuation model is made."""
