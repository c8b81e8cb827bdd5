"""Running a model over a data set: the loop and its journal, the prefix tree, decoding, hidden states, output changes."""
