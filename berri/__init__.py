"""BERRI: many retrieval datasets, annotated with instructions. Nothing is collected yet."""
