"""Doors: bytes between clients and sessions."""
