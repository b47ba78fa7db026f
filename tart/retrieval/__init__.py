"""Search: retrievers, fusion, reranking, and the one call that puts them together."""
