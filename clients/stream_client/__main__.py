"""`python -m stream_client` is `stream-client`."""

import sys

from stream_client.cli import main

sys.exit(main())
