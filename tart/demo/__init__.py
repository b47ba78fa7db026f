"""The demo: Python's own standard library, searched with instructions."""
