"""Kaldi data directories, audio reading and length-sorted batching."""
