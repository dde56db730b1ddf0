"""Recipes: how the files under stream_server/data/ that no person wrote were made."""
