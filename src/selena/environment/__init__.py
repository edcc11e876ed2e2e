"""What the bytes of a run depend on besides settings and data: processor, versions, code."""
