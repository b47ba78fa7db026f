"""The index folder: documents, dense vectors, BM25, and how they are built and opened."""
