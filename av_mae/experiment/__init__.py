"""An experiment made concrete on this machine: mesh, training state, step, optimizer, checkpoints.

What training, evaluation and planning build on; the loop itself is in `av_mae.training`.
"""
