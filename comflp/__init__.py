"""CoMFLP: fast layer pruning of CTC speech recognisers by layer correlation.

The method of Liu, Peng and Lee (Interspeech 2023) as a library. It takes and
returns values, reads and writes only the paths that it is given, and prints
nothing; the numbered scripts in ``local/`` are its command line.
"""

__version__ = "0.1.0"
