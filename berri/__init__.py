"""BERRI: many retrieval datasets as tasks with instructions, collected for training."""
