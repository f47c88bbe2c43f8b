"""Where a Neo4j is and who asks: read from the store's URL, its credentials kept out of everything that is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLCertVerificationError
from urllib.parse import unquote, urlsplit

from graph.store import StoreUnavailableError

SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
USUAL_PORT = 7687
USUAL_DATABASE = "neo4j"


@dataclass(frozen=True, slots=True)
class Neo4jAddress:
    """One database of a Neo4j server or cluster. `uri` holds no credentials. `authority`: the file that holds the certificates of an own CA."""

    uri: str
    database: str
    user: str
    password: str = field(repr=False)
    authority: Path | None = None

    def __str__(self) -> str:
        return f"{self.uri}/{self.database}"


def is_neo4j(url: str) -> bool:
    """Whether a store's URL is for Neo4j."""
    return url.partition("://")[0] in SCHEMES


def parse_neo4j(url: str, user: str = "", password: str = "", authority: Path | None = None) -> Neo4jAddress:
    """Reads SCHEME://[USER:PASSWORD@]HOST[:PORT][/DATABASE]; `user` and `password` stand for what the URL leaves out. Raises StoreUnavailableError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or USUAL_PORT
    except ValueError:
        host, port = "", 0
    database = parts.path.strip("/") if host else ""
    if not host or not is_neo4j(url) or "/" in database or parts.fragment or (parts.query and not parts.scheme.startswith("neo4j")):
        raise StoreUnavailableError("The Neo4j store's URL can't be read: write SCHEME://HOST:PORT/DATABASE, e.g. neo4j://127.0.0.1:7687/neo4j.")
    if authority is not None and parts.scheme.endswith("+ssc"):
        raise StoreUnavailableError(f"A certificate authority is given, but {parts.scheme} trusts any certificate: use {parts.scheme.removesuffix('sc')}.")
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Neo4jAddress(
        uri=f"{parts.scheme}://{where}{'?' + parts.query if parts.query else ''}",
        database=database or USUAL_DATABASE,
        user=unquote(parts.username or "") or user or "neo4j",
        password=unquote(parts.password or "") or password,
        authority=authority,
    )


def refused_certificate(trouble: BaseException) -> SSLCertVerificationError | None:
    """What was wrong with the server's certificate, where that is why the driver failed; the driver tells it in a cause of a cause."""
    reason: BaseException | None = trouble
    while reason is not None and not isinstance(reason, SSLCertVerificationError):
        reason = reason.__cause__
    return reason
