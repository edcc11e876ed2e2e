"""The audit: the only package that knows who is a member, and that computes figures from it."""
