"""What answers requests: admission, tokenizing, batching, computing. Knows nothing of HTTP."""
