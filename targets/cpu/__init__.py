"""Shared libraries for general-purpose processors."""
