"""Receive webhooks: check each call, answer at once, print what happened. The webhook's secret is in SECRET.

python receive_webhook.py 8080
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from switchyard_client import Unverified, webhooks

# Deliveries that were dealt with: one may come twice. A real receiver keeps them in its database.
seen: set[str] = set()


class Receiver(BaseHTTPRequestHandler):
    timeout = 10

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), 2**20)) if length.isdecimal() else b""
        try:
            event = webhooks.verify(body, dict(self.headers), os.environ["SECRET"])
        except Unverified as why:
            self.send_error(403, str(why))
            return
        if event["delivery"] not in seen:
            seen.add(event["delivery"])
            print(event["event"], event["data"], flush=True)
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
