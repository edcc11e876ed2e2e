"""The release report: one document for the decision whether a model may be released."""
