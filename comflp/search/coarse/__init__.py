"""Coarse search (Section 2.2): the best proposals by a matrix, without decoding."""
