"""The release report: one document for whoever decides whether a model may leave."""
