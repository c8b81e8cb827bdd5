"""Kaldi data directories, audio reading and length-sorted batching."""

MAX_SECONDS = 160.0
"""Default padded seconds of audio in a batch: the released code's 32 utterances of 5 s."""
