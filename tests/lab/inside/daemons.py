"""Runs in the namespace: leaves a daemon behind, says so, and waits for Ctrl-C to say goodbye."""

import subprocess
import sys
import time
from pathlib import Path

from lab.namespace import inside

mark, mode = sys.argv[1:]
if mode == "status":
    print(inside(), Path("/etc/resolv.conf").read_text().split()[1])
    sys.exit(7)
# Twice forked and in a session of its own, as Postfix's master is.
subprocess.run(["setsid", "--fork", "sleep", mark], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("ready", flush=True)
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("goodbye", flush=True)
        if mode == "polite":
            sys.exit(3)
