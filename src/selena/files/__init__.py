"""What crosses the border to the disk: one writer, limits for readers, names made harmless."""
