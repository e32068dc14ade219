"""The catalogue: one folder a subject, `papers.toml` and one module a study."""
