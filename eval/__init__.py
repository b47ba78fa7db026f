"""Evaluation: BEIR, LoTTE and X²-Retrieval. Nothing is measured yet.

Import from this package with `from eval.x import y` only: a bare `import eval` replaces the builtin.
"""
