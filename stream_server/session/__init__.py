"""The conversation: messages, a table of states, and the session that joins voice activity, windows and text."""
