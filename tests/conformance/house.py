"""The gateway, and behind it a model server that parses every request with h11 and keeps what it saw.

Callers are identified by a client certificate, so that the requests of the corpora go out byte for byte as they are written.
"""

import datetime
import json
import os
import socket
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path

import h11
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

POLICY = 'policy "conformance" version 1\nrule everything { allow }\n'
#: Seconds until a silent gateway counts as having nothing more to say.
SILENCE = 10


class Upstream:
    """Answers 200 to every request that h11 accepts; keeps the requests, and what h11 did not accept."""

    def __init__(self, body=b"ok"):
        self.body = body
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.lock = threading.Lock()
        self.seen, self.violations, self.total = [], [], 0
        threading.Thread(target=self._accept, daemon=True).start()

    def take(self):
        """What was seen since the last call of this."""
        with self.lock:
            seen, self.seen = self.seen, []
            return seen

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        connection = h11.Connection(h11.SERVER)
        request, body = None, b""
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    received = client.recv(65536)
                    if not received and connection.their_state is h11.IDLE:
                        return
                    connection.receive_data(received)
                elif isinstance(event, h11.Request):
                    request, body = event, b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    with self.lock:
                        self.seen.append((request, body))
                        self.total += 1
                    head = h11.Response(status_code=200, headers=[("content-length", str(len(self.body))), ("content-type", "text/plain")])
                    answer = connection.send(head)
                    if request.method != b"HEAD":
                        answer += connection.send(h11.Data(data=self.body))
                    client.sendall(answer + connection.send(h11.EndOfMessage()))
                    if connection.our_state is h11.MUST_CLOSE:
                        return
                    connection.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed):
                    return
        except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            # A body that turns out broken on its way ends in an abort: the request is never whole, which is right.
            if "peer closed connection" in str(error):
                return
            with self.lock:
                self.violations.append(f"{error} in {request}")
        except OSError:
            pass
        finally:
            client.close()


class House:
    """A running gateway with its upstream."""

    def __init__(self, paths, answer=b"ok"):
        """`paths` may pass unread; every other path that is no API's is not found."""
        self.directory = tempfile.TemporaryDirectory(prefix="sallyport-conformance-")
        root = Path(self.directory.name)
        self.data = root / "data"
        self.upstream = Upstream(answer)
        certificates(root)
        (root / "all.policy").write_text(POLICY)
        (root / "sallyport.toml").write_text(
            f"""data = "{self.data}"
[listen]
address = "127.0.0.1:0"
cores = 1
[listen.limits]
head_timeout = "2s"
body_timeout = "2s"
body_grace = "2s"
idle_keepalive = "1s"
stream_idle = "2s"
[listen.tls]
cert = "server.pem"
key = "server.key"
client_ca = "ca.pem"
client_certificates = "optional"
[admin]
address = "127.0.0.1:0"
[identity]
api_keys = "file:data/api-keys.json"
# The suites come from one address and are refused a lot.
failures_per_minute = 0
[identity.certificates]
common_names = true
[[upstream]]
name = "recorder"
endpoints = ["http://{self.upstream.address[0]}:{self.upstream.address[1]}"]
match = {{ path = "/" }}
opaque = {json.dumps(sorted(paths))}
[policy]
path = "all.policy"
[evidence]
origin = "conformance.example/log"
durability = "observe"
"""
        )
        self.tls = ssl.create_default_context(cafile=str(root / "ca.pem"))
        self.tls.load_cert_chain(root / "client.pem", root / "client.key")
        # Broken requests end in a closed connection now and then; that is no attack on us.
        self.tls.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
        self.binary = os.environ["SALLYPORT"]
        issued = subprocess.run(
            [self.binary, "keys", "issue", "--subject", "slow", "--data", str(self.data)],
            capture_output=True, text=True, check=True,
        )
        #: For clients that cannot show a certificate.
        self.api_key = issued.stdout.strip()
        self.process = subprocess.Popen(
            [self.binary, "run", "--config", str(root / "sallyport.toml")], stderr=subprocess.PIPE, text=True
        )
        self.log, self.address = [], None
        for line in self.process.stderr:
            self.log.append(line)
            if "gateway=" in line:
                host, port = line.split("gateway=")[1].split()[0].rsplit(":", 1)
                self.address = (host, int(port))
                break
        if self.address is None:
            raise SystemExit("the gateway did not start:\n" + "".join(self.log))
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def ask(self, data):
        """Sends bytes on a connection of its own; gives the statuses of the answers, until the gateway closes or is done."""
        with socket.create_connection(self.address, timeout=SILENCE) as plain:
            with self.tls.wrap_socket(plain, server_hostname="localhost") as client:
                try:
                    client.sendall(data)
                except OSError:
                    pass  # The gateway may have answered and closed already.
                return statuses(client)

    def calls_in_evidence(self):
        """How many calls and refusals the evidence has."""
        rows = subprocess.run(
            [self.binary, "audit", "search", "--json", "--limit", "10000000", "kind:call", "--data", str(self.data)],
            capture_output=True, text=True, check=True,
        )
        return sum(1 for line in rows.stdout.splitlines() if json.loads(line))

    def stop(self):
        """Drains; says whether the gateway ended well."""
        self.process.terminate()
        return self.process.wait(timeout=60) == 0


def statuses(client):
    """The statuses of the answers on a connection that ends, or on which nothing more comes."""
    received, found = b"", []
    while True:
        try:
            part = client.recv(65536)
        except (TimeoutError, ConnectionError, ssl.SSLError):
            part = b""
        received += part
        while b"\r\n\r\n" in received:
            head, rest = received.split(b"\r\n\r\n", 1)
            status = int(head.split(b" ", 2)[1])
            length = next(
                (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            if len(rest) < length:
                break
            found.append(status)
            received = rest[length:]
        if not part:
            return found


def certificates(root):
    """A root, a server's and a client's certificate."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def issue(name, issuer, issuer_key, key, extensions):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256())

    def store(name, certificate, key):
        pem = serialization.Encoding.PEM
        (root / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (root / f"{name}.key").touch(mode=0o600)
        (root / f"{name}.key").write_bytes(private)

    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server", "client")}
    ca = issue("conformance root", None, keys["ca"], keys["ca"], [(x509.BasicConstraints(True, None), True)])
    store("ca", ca, keys["ca"])
    usage = x509.oid.ExtendedKeyUsageOID
    server = [
        (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False),
        (x509.ExtendedKeyUsage([usage.SERVER_AUTH]), False),
    ]
    store("server", issue("localhost", ca.subject, keys["ca"], keys["server"], server), keys["server"])
    client = [(x509.ExtendedKeyUsage([usage.CLIENT_AUTH]), False)]
    store("client", issue("corpus", ca.subject, keys["ca"], keys["client"], client), keys["client"])
