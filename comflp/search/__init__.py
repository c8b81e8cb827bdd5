"""Searches for layers to remove: coarse on the correlation matrix, fine by decoding, and what they are compared with."""

from comflp.search.candidate import Candidate
from comflp.search.coarse import coarse_search, coarse_searches
from comflp.search.constraints import Constraints

__all__ = ["Candidate", "Constraints", "coarse_search", "coarse_searches"]
