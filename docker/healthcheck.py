"""Exit 0 where the server in this container is ready, 1 where it is not. Standard library only.

FTX_HEALTH_URL is asked where it is set, http://127.0.0.1:8000/v2/health/ready otherwise.
"""

from __future__ import annotations

import os
import sys
import urllib.request

URL = "http://127.0.0.1:8000/v2/health/ready"


def main() -> int:
    try:
        with urllib.request.urlopen(os.environ.get("FTX_HEALTH_URL", URL), timeout=2) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:  # refused, timed out, or any status but 2xx
        print(f"not ready: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
