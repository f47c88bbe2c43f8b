"""A real Neo4j that takes encrypted connections alone, with the certificate of an authority made here."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from graph.neo4j_address import Neo4jAddress
from graph.neo4j_store import Neo4jGraphStore
from graph.store import StoreUnavailableError
from graph.topology import Entity
from schema.identity import EntityRef
from tests.neo4j_server import ask, launch, launches_here

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of those sockets, see `refusal`
CART = Entity(EntityRef("service", "c", "shop", "cart"), {}, ("t",), 0, 0)
AUTHORITY = ("-x509", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")


def certificate(folder: Path, name: str, *options: str) -> Path:
    """A new key in NAME.key, and its certificate."""
    made = folder / f"{name}.crt"
    subprocess.run(
        ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", made, *options],
        check=True,
        capture_output=True,
    )
    return made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("authority"), "authority", *AUTHORITY)


@pytest.fixture(scope="module")
def encrypted_server(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jAddress]:
    """Its address, of which the scheme is bolt+ssc; the certificate is for localhost."""
    if not launches_here():
        pytest.skip("A server of its own needs Java 17 or later and Maven.")
    home, policy = tmp_path_factory.mktemp("encrypted"), tmp_path_factory.mktemp("policy")
    signed = ("-x509", "-CA", str(authority), "-CAkey", str(authority.with_suffix(".key")), "-addext", "subjectAltName=DNS:localhost")
    certificate(policy, "server", *signed, "-addext", "basicConstraints=critical,CA:FALSE")
    settings = {
        "server.bolt.tls_level": "REQUIRED",
        "dbms.ssl.policy.bolt.enabled": "true",
        "dbms.ssl.policy.bolt.base_directory": str(policy),
        "dbms.ssl.policy.bolt.private_key": "server.key",
        "dbms.ssl.policy.bolt.public_certificate": "server.crt",
        "dbms.ssl.policy.bolt.client_auth": "NONE",
    }
    try:
        yield launch(home, "--port", "0", *(f"--conf={name}={value}" for name, value in settings.items()))
    finally:
        ask(home, "stop")


def at(address: Neo4jAddress, scheme: str, host: str = "localhost", authority: Path | None = None) -> Neo4jAddress:
    return replace(address, uri=f"{scheme}://{host}:{address.uri.rpartition(':')[2]}", authority=authority)


async def works(address: Neo4jAddress) -> bool:
    store = Neo4jGraphStore(address, retry_seconds=0.0)
    try:
        await store.ensure_schema()
        await store.upsert_entities([CART])
        return list((await store.snapshot()).entities) == [CART]
    finally:
        await store.close()


async def refusal(address: Neo4jAddress) -> str:
    with pytest.raises(StoreUnavailableError) as trouble:
        await works(address)
    told = str(trouble.value)
    del trouble
    gc.collect()  # the driver leaves the socket of a handshake that failed to the collector, which complains in whichever test it runs
    return told


@pytest.mark.slow
async def test_an_encrypted_server_is_used_with_its_own_authority_or_with_trust_in_anybody(encrypted_server: Neo4jAddress, authority: Path) -> None:
    assert await works(at(encrypted_server, "bolt+s", authority=authority))
    assert await works(at(encrypted_server, "bolt+ssc"))


@pytest.mark.slow
async def test_a_certificate_nobody_vouches_for_is_refused_with_what_to_do(encrypted_server: Neo4jAddress, tmp_path: Path) -> None:
    told = await refusal(at(encrypted_server, "bolt+s"))
    assert "certificate" in told
    assert "WHENCE_STORE_CA" in told
    another = certificate(tmp_path, "another", *AUTHORITY)
    assert "WHENCE_STORE_CA" in await refusal(at(encrypted_server, "bolt+s", authority=another))


@pytest.mark.slow
async def test_a_certificate_for_another_host_is_refused(encrypted_server: Neo4jAddress, authority: Path) -> None:
    assert "127.0.0.1" in (told := await refusal(at(encrypted_server, "bolt+s", "127.0.0.1", authority)))
    assert "certificate" in told


@pytest.mark.slow
async def test_a_plain_connection_to_an_encrypted_server_is_told_which_scheme_to_use(encrypted_server: Neo4jAddress) -> None:
    assert "bolt+s://" in await refusal(at(encrypted_server, "bolt"))
