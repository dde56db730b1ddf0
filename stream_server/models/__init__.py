"""The models: streaming Paraformer as batched tensor code over slots."""
