"""Measuring this server on this machine: steps without sockets, and sockets under load."""
