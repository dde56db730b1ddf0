"""Open-loop load on a streaming recognition server, and how long its text takes under it.

    figures = run(Load(url="ws://127.0.0.1:10095", streams=100, seconds=30))
    print(figures.partial_lag.p99)
"""

from stream_client.load.figures import Figures, Lags
from stream_client.load.plan import Load
from stream_client.load.run import run

__all__ = ["Figures", "Lags", "Load", "run"]
