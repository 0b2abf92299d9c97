"""Runs in the namespace: a Postfix below a closed, deep folder; killed with a mail in its queue, and started anew."""

import json
import smtplib
import sys
import time
from pathlib import Path

from lab.internet import Internet
from lab.postfix import PrivatePostfix
from lab.postfix_config import SmtpdService

folder = Path(sys.argv[1]) / "closed" / ("deep-" * 20)
folder.mkdir(parents=True)
(Path(sys.argv[1]) / "closed").chmod(0o700)
facts: dict[str, object] = {}


def until(condition: object) -> bool:
    deadline = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


with Internet(folder / "internet") as internet:
    postfix = PrivatePostfix(
        folder / "postfix", hostname="relay.lab.test", listen=[SmtpdService(address="127.0.0.1:10026")]
    )
    postfix.start()
    facts["root"] = len(str(postfix.root)) < 30
    with smtplib.SMTP("127.0.0.1", 10026) as client:
        client.sendmail("n@shop.test", ["ann@quota.test"], b"Subject: x\r\n\r\nx\r\n")
    facts["deferred"] = until(lambda: any(mail.recipients.get("ann@quota.test") for mail in postfix.queue()))
    before = postfix.queue()
    postfix.kill()
    facts["killed"] = until(lambda: not postfix.running())
    postfix.start()
    facts["queue survives"] = [mail.queue_id for mail in postfix.queue()] == [mail.queue_id for mail in before]
    postfix.configure({"transport_maps": "inline:{ quota.test=smtp:[127.0.1.1] }"})
    postfix.reload()
    until(lambda: postfix.queue() == [] or postfix.flush())
    facts["delivered"] = [entry.recipient for entry in internet.books().entries(receiver="good") if entry.accepted]
    postfix.stop()
    facts["stopped"] = not postfix.running()
    postfix.start()
    facts["configuration kept"] = "quota.test=smtp" in (postfix.config / "main.cf").read_text()
    facts["log kept"] = "status=deferred" in postfix.log.read_text()
    postfix.stop()
print(json.dumps(facts))
