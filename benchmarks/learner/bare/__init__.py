"""The loops that one writes in plain PyTorch: modules, fused Adam, a bounded gradient, targets without gradient.

Actions to choose from are outputs of the network here, not rows of features: less arithmetic than ours.
"""
