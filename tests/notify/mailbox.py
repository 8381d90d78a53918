"""A mail server on the loopback with TLS and a password: mailbox.py CERTIFICATE KEY PORT. Prints each mail as a line of JSON."""

import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class Mailbox:
    def __init__(self, refusals):
        self.refusals = refusals

    async def handle_DATA(self, server, session, envelope):
        if self.refusals > 0:
            self.refusals -= 1
            return "451 try again later"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        print(
            json.dumps(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "signed_in": session.authenticated,
                    "id": mail["message-id"],
                    "subject": mail["subject"],
                    "text": mail.get_content(),
                }
            ),
            flush=True,
        )
        return "250 OK"


def authenticate(_server, _session, _envelope, _mechanism, data):
    good = isinstance(data, LoginPassword) and data.login == b"gateway" and data.password == b"mail secret"
    return AuthResult(success=good)


certificate, key, port = sys.argv[1:4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
# The connection is encrypted before SMTP begins, which aiosmtpd does not notice by itself: hence auth_require_tls.
controller = Controller(
    Mailbox(refusals=1),
    hostname="127.0.0.1",
    port=int(port),
    ssl_context=context,
    authenticator=authenticate,
    auth_required=True,
    auth_require_tls=False,
)
controller.start()
print("ready", flush=True)
sys.stdin.read()
controller.stop()
