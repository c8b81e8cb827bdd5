"""The parts of the report, one module each; every one turns an Experiment into a Section."""
