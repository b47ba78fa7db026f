"""Training: what goes into sentence-transformers' trainers and what comes out of them."""
