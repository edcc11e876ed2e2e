"""Files: one safe writer, limits for readers, and escaping of names."""
