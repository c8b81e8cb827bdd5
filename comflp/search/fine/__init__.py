"""Fine search (Section 2.3): candidates decoded together and ranked by error rate."""
