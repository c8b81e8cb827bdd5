"""Repair: the linear maps of a pruned model refitted in closed form, without labels and without training.

A layer that stays still expects the inputs that it had in the deep model. Maps that read the stream are refitted to give
what they gave there; maps that write to it bring it back to where the deep model's was, behind the gap if one follows.
"""

from comflp.repair.calibration import Calibration, repair

__all__ = ["Calibration", "repair"]
