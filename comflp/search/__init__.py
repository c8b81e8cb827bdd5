"""Searches for layers to remove: coarse on the correlation matrix, fine by decoding, and what they are compared with."""

from comflp.search.coarse.candidate import Candidate
from comflp.search.coarse.search import coarse_search, coarse_searches
from comflp.search.coarse.constraints import Constraints

__all__ = ["Candidate", "Constraints", "coarse_search", "coarse_searches"]
