"""A mail server on the loopback with a password: mailbox.py CERTIFICATE KEY PORT tls|starttls. Prints each mail as a line of JSON,
and of each connection that it encrypts by STARTTLS what was said before."""

import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


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
                    "encrypted": session.ssl is not None,
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


class Upgrading(SMTP):
    """Notes the commands that come in the clear."""

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.clear = []

    async def smtp_EHLO(self, hostname):
        self.note("EHLO")
        await super().smtp_EHLO(hostname)

    async def smtp_STARTTLS(self, arg):
        self.note("STARTTLS")
        print("commands before encryption:", ",".join(self.clear), flush=True)
        await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg):
        self.note("AUTH")
        await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg):
        self.note("MAIL")
        await super().smtp_MAIL(arg)

    def note(self, command):
        if not self.session.ssl:
            self.clear.append(command)


class UpgradingController(Controller):
    def factory(self):
        return Upgrading(self.handler, **self.SMTP_kwargs)


certificate, key, port, way = sys.argv[1:5]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
common = {"hostname": "127.0.0.1", "port": int(port), "authenticator": authenticate, "auth_required": True}
if way == "tls":
    # The connection is encrypted before SMTP begins, which aiosmtpd does not notice by itself: hence auth_require_tls.
    controller = Controller(Mailbox(refusals=1), ssl_context=context, auth_require_tls=False, **common)
else:
    controller = UpgradingController(Mailbox(refusals=0), tls_context=context, require_starttls=True, **common)
controller.start()
print("ready", flush=True)
sys.stdin.read()
controller.stop()
