"""Searches for layers to remove: coarse on the correlation matrix, fine by decoding, and what they are compared with."""

from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.search.coarse.candidate import Candidate
from comflp.search.coarse.search import coarse_search, coarse_searches

__all__ = ["BlockMatrix", "Candidate", "coarse_search", "coarse_searches"]
