"""Models: bi-encoders, cross-encoders, TART-full's EncT5, and the table of their names."""

DEFAULT_MODEL = "tart-mini-dual"
