"""A streaming speech recognition server: batched streaming Paraformer behind WebSockets.

Importing this package loads neither torch, funasr nor aiortc; each is loaded where it is first used.
"""

__version__ = "0.1.0"
