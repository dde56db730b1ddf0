"""The engine: advances every stream that has a chunk ready, in batched steps over slots."""
