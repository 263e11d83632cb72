"""CURVE keys and who may use the bus: for Python's sockets when `[bus.security]` is on.

In the key folder (0700) lie, each 0600, in TOML with `public` and `secret` in Z85:

- `server.key`: of whoever binds a port; every service of one installation shares it,
- `client.key`: of whoever connects,
- `allowed.keys`: one public client key a line, `#` begins a comment; only these may connect.

A client needs `server.key`'s public half only: `server.pub`, one line. `generate` makes them all.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli
import zmq
from zmq.auth.asyncio import AsyncioAuthenticator

_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
SERVER_KEY = "server.key"
SERVER_PUBLIC = "server.pub"
CLIENT_KEY = "client.key"
ALLOWED = "allowed.keys"
DOMAIN = "trading-console"


class KeyFileError(ValueError):
    """A key file that is missing, readable by others, or holds no key: which, and what to do."""


@dataclass(frozen=True, slots=True)
class Keypair:
    """A CURVE key pair in Z85; the secret half stays out of `repr`."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Keypair:
        return cls(*zmq.curve_keypair())


@dataclass(frozen=True, slots=True)
class BusKeys:
    """What one installation's sockets need. `server` is None where only the public half is here."""

    client: Keypair
    server_public: bytes
    server: Keypair | None = None
    allowed: frozenset[bytes] = frozenset()

    def secure_client(self, socket: zmq.Socket[Any]) -> None:
        """Before `connect`: prove who we are, and that the other side is our server."""
        socket.curve_publickey = self.client.public
        socket.curve_secretkey = self.client.secret
        socket.curve_serverkey = self.server_public

    def secure_server(self, socket: zmq.Socket[Any]) -> None:
        """Before `bind`. Its context needs an `authenticator`, or nobody gets in."""
        if self.server is None:
            raise KeyFileError(
                f"binding a secured port needs {SERVER_KEY}, which isn't in the key folder; "
                "copy it here, or connect instead"
            )
        socket.curve_server = True
        socket.curve_publickey = self.server.public
        socket.curve_secretkey = self.server.secret
        socket.zap_domain = DOMAIN.encode()
        # Without it libzmq lets everyone in for as long as no authenticator answers.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def authenticator(self, context: zmq.Context[Any]) -> AsyncioAuthenticator:
        """The ZAP handler of `context`, running in this event loop; its owner calls `stop()`."""
        authenticator = AsyncioAuthenticator(context)
        authenticator.configure_curve_callback(DOMAIN, _Allowed(self.allowed))
        authenticator.start()
        return authenticator


class _Allowed:
    def __init__(self, keys: frozenset[bytes]) -> None:
        self._keys = keys

    def callback(self, domain: str, key: bytes) -> bool | Awaitable[bool]:
        return domain == DOMAIN and key in self._keys


def generate(folder: Path) -> BusKeys:
    """Make a key folder with a server, a client, and that client allowed; what is there is kept."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
    for name in (SERVER_KEY, CLIENT_KEY):
        if not (folder / name).exists():
            pair = Keypair.new()
            text = f'public = "{pair.public.decode()}"\nsecret = "{pair.secret.decode()}"\n'
            _write(folder / name, text)
    server, client = _pair(folder / SERVER_KEY), _pair(folder / CLIENT_KEY)
    if not (folder / SERVER_PUBLIC).exists():
        _write(folder / SERVER_PUBLIC, server.public.decode() + "\n")
    if not (folder / ALLOWED).exists():
        _write(folder / ALLOWED, f"# public keys of clients\n{client.public.decode()}\n")
    return load(folder)


def load(folder: Path) -> BusKeys:
    """Read a key folder. Raises `KeyFileError` naming the file, the rule and the remedy."""
    client = _pair(folder / CLIENT_KEY)
    server = _pair(folder / SERVER_KEY) if (folder / SERVER_KEY).exists() else None
    if server is not None:
        server_public = server.public
    else:
        server_public = _key(_read(folder / SERVER_PUBLIC).strip(), folder / SERVER_PUBLIC)
    allowed: frozenset[bytes] = frozenset()
    if (folder / ALLOWED).exists():
        lines = (line.partition(" #")[0].strip() for line in _read(folder / ALLOWED).splitlines())
        allowed = frozenset(
            _key(line, folder / ALLOWED) for line in lines if line and not line.startswith("# ")
        )
    return BusKeys(client=client, server_public=server_public, server=server, allowed=allowed)


def _pair(path: Path) -> Keypair:
    try:
        values = tomli.loads(_read(path))
    except tomli.TOMLDecodeError:
        values = {}
    pair = Keypair(_key(values.get("public"), path), _key(values.get("secret"), path))
    if zmq.curve_public(pair.secret) != pair.public:
        raise KeyFileError(
            f"{path}: public and secret are not of one pair; remove the file to get a new one"
        )
    return pair


def _key(text: object, path: Path) -> bytes:
    if not isinstance(text, str) or not _Z85.fullmatch(text):
        raise KeyFileError(
            f"{path} holds no CURVE key (40 characters of Z85); remove it to get a new one"
        )
    return text.encode()


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyFileError(
                    f"{path} has mode {mode:04o}, readable by others; chmod 600 {path}"
                )
            return file.read(65_536)
    except OSError as error:
        raise KeyFileError(
            f"{path}: {error.strerror}; make the keys with `trading-console keys new`"
        ) from None


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
