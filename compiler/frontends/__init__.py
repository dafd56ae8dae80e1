"""Frontends: from the formats of training frameworks to a float graph."""
