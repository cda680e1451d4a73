"""A mail server for tests: aiosmtpd, with a mind of its own about whom it takes mail for.

    mail_server.py plain|starttls|implicit [CERTIFICATE KEY [USER PASSWORD]]

Prints its port, then a line of JSON for each mail that it took, parsed by Python's own library. Ends with its stdin.
Recipients: `unknown…` is refused (550), `busy…` deferred (451), `grey…` deferred the first time and taken from then on.
"""

import asyncio
import base64
import email
import email.policy
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult


class Desk:
    def __init__(self):
        self.seen = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        if name.startswith("unknown"):
            return "550 no such mailbox"
        if name.startswith("busy"):
            return "451 try again later"
        known = (envelope.mail_from, address)
        if name.startswith("grey") and known not in self.seen:
            self.seen.add(known)
            return "451 4.7.1 greylisted, try again in a second"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        parts = [part for part in mail.walk() if not part.is_multipart()]
        report({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "encrypted": server.transport.get_extra_info("ssl_object") is not None,
            "headers": {name.lower(): str(value) for name, value in mail.items()},
            "parts": [
                {
                    "type": part.get_content_type(),
                    "name": part.get_filename(),
                    "base64": base64.b64encode(part.get_payload(decode=True)).decode(),
                }
                for part in parts
            ],
        })
        return "250 taken as 42"


def report(line):
    print(json.dumps(line), flush=True)


async def main():
    mode, files, account = sys.argv[1], sys.argv[2:4], sys.argv[4:6]
    tls = None
    if mode != "plain":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*files)
    desk, loop = Desk(), asyncio.get_running_loop()

    def authenticate(server, session, envelope, mechanism, data):
        known = [data.login.decode(), data.password.decode()] == account
        return AuthResult(success=known, handled=False)

    def serve():
        return SMTP(
            desk,
            hostname="test",
            loop=loop,
            tls_context=tls if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            auth_required=bool(account),
            auth_require_tls=mode == "starttls",  # it does not see TLS that was there from the start
            authenticator=authenticate,
        )

    server = await loop.create_server(serve, "127.0.0.1", 0, ssl=tls if mode == "implicit" else None)
    report(server.sockets[0].getsockname()[1])
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


# Of what goes wrong on purpose, the tests tell.
logging.disable()
warnings.simplefilter("ignore")
asyncio.run(main())
