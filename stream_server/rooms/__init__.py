"""Meetings: several speakers, many readers, one transcript. docs/rooms.md"""
