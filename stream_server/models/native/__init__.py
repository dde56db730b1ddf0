"""Layers for x86 processors, in C++: one call computes what would else be fifty operators with as many waits."""
