"""The audit: the only room that holds the truth about membership and makes figures of it."""
