"""Models on a Chinese benchmark of alignment: asked (answer), judged (judge), and put side by side (report).

AlignBench (Liu et al. 2024) has eight categories and a reference for each question; MT-Bench-zh has two turns.
"""
