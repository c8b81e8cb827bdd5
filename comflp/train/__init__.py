"""Training and fine-tuning: the loop, its checkpoints, distillation."""

DISTILLATIONS = ("none", "ctc", "hidden", "both", "only")
"""What a pruned model may learn from the deep one (:class:`comflp.train.distillation.Distillation`)."""
