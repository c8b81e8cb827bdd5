"""Training and fine-tuning: the loop, its checkpoints, distillation."""
