"""Runs in the namespace: mounts over a link that leads nowhere, and a short path for a folder that others cannot enter."""

import subprocess
import sys
from pathlib import Path

from lab.namespace import _mount_over, mount_short

folder = Path(sys.argv[1])
closed = folder / "closed" / ("deep-" * 30)
closed.mkdir(parents=True)
(folder / "closed").chmod(0o700)
short = mount_short(closed)
(closed / "seen").write_text("")
reached = subprocess.run(
    ["test", "-e", str(short / "seen")], user="nobody", group="nogroup", extra_groups=[], check=False
)
print(reached.returncode, mount_short(closed) == short, len(str(short)) < 20)

source = folder / "source"
source.write_text("ours")
cellar = folder / "cellar"
cellar.mkdir()
link = folder / "link"
link.symlink_to(cellar / "gone" / "resolv.conf")
_mount_over(source, link)
print(link.read_text())
