"""Who may call what: every role and every call over real mutual TLS, and only the listed cells pass."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from federations import SmallFederation
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from refusals import refused_with

from core.checks import Verifier
from core.errors import Reason, Refused
from core.identity import certificates
from core.identity.certificates import PeerName, server_name
from core.identity.roster import Role
from core.protocol import Head, HolderStart
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import PARTY_KEY, channel_credentials, channel_options
from core.wire.holder_messages import start_to_bytes
from core.wire.status import REASON_KEY
from server.admission import ALLOWED, admit
from server.lanes import Lanes
from server.service import listen

NOW = datetime.now(UTC)
SECONDS = 10.0
"""A caller without access waits no longer."""


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFederation]:
    federation = SmallFederation(tmp_path_factory.mktemp("admission") / "federation")
    federation.add_observer("observer")
    federation.revoke("client-2")
    federation.revoke("keyholder-2")
    yield federation
    federation.close()


def test_every_call_of_the_contract_is_in_the_table_and_no_other() -> None:
    ours = {m.name for service in pb.DESCRIPTOR.services_by_name.values() for m in service.methods}
    for_members = ours - {"OfferRoster"}  # which a newcomer calls too (tests/test_membership.py)
    assert for_members | {"Check", "ServerReflectionInfo"} == set(ALLOWED), (
        "and the standard services, for members only"
    )
    assert len(ours) == 18


def test_the_table_is_that_of_the_threat_model() -> None:
    every_role = set(Role)
    parties = every_role - {Role.OBSERVER}
    assert {call: set(roles) for call, roles in ALLOWED.items()} == {
        "Join": {Role.CLIENT}, "Commit": {Role.CLIENT}, "Submit": {Role.CLIENT},
        "FetchModel": parties, "FetchRoster": parties, "Watch": every_role, "Check": parties, "ServerReflectionInfo": parties,
        "Attend": {Role.KEYHOLDER}, "VouchFor": {Role.KEYHOLDER},
        "Serve": {Role.KEYHOLDER}, "SignRequest": {Role.KEYHOLDER}, "OfferKeys": {Role.KEYHOLDER}, "SignList": {Role.KEYHOLDER},
        "FetchSubmissions": {Role.KEYHOLDER}, "Release": {Role.KEYHOLDER}, "FetchOpenedSum": {Role.KEYHOLDER},
        "EndorseModel": {Role.KEYHOLDER}, "DeclineTask": {Role.KEYHOLDER},
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ without a network


def context(*uris: str, metadata: tuple[tuple[str, str], ...] = ()) -> Any:
    names = {"x509_subject_alternative_name": [uri.encode() for uri in uris]} if uris else {}
    return SimpleNamespace(auth_context=lambda: names, invocation_metadata=lambda: metadata)


def uri(federation: SmallFederation, role: str, name: str) -> str:
    return f"grokfed://{federation.roster.federation}/{role}/{name}"


@pytest.mark.parametrize("call", sorted(ALLOWED))
@pytest.mark.parametrize(
    ("role", "name"),
    [("client", "client-1"), ("keyholder", "keyholder-1"), ("server", "server"), ("observer", "observer")],
)
def test_each_role_may_make_its_own_calls_only(federation: SmallFederation, role: str, name: str, call: str) -> None:
    if Role(role) in ALLOWED[call]:
        member = admit(context(uri(federation, role, name)), call, federation.roster, plaintext=False)
        assert member == federation.roster.member(name)
    else:
        with refused_with(Reason.WRONG_ROLE):
            admit(context(uri(federation, role, name)), call, federation.roster, plaintext=False)


def test_a_certificate_must_name_exactly_one_active_member_of_this_federation(federation: SmallFederation) -> None:
    good = uri(federation, "client", "client-1")
    expected = {
        (): Reason.NOT_IN_ROSTER,
        (good, uri(federation, "client", "client-3")): Reason.NOT_IN_ROSTER,
        ("https://example.org",): Reason.NOT_IN_ROSTER,
        (uri(federation, "client", "stranger"),): Reason.NOT_IN_ROSTER,
        (uri(federation, "client", "client-2"),): Reason.REVOKED,
        (uri(federation, "client", "keyholder-1"),): Reason.WRONG_ROLE,
        (f"grokfed://{'f' * 16}/client/client-1",): Reason.WRONG_FEDERATION,
        (good + "/more",): Reason.NOT_IN_ROSTER,
    }
    for uris, reason in expected.items():
        with refused_with(reason):
            admit(context(*uris), "Join", federation.roster, plaintext=False)
    other_names = ("https://example.org", server_name(federation.roster.federation), good)
    assert admit(context(*other_names), "Join", federation.roster, plaintext=False).name == "client-1"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("client/client-1", None),
        ("client/client-2", Reason.REVOKED),
        ("client/stranger", Reason.NOT_IN_ROSTER),
        ("keyholder/keyholder-1", Reason.WRONG_ROLE),
        ("keyholder/client-1", Reason.WRONG_ROLE),
        ("boss/client-1", Reason.NOT_IN_ROSTER),
        ("client-1", Reason.NOT_IN_ROSTER),
        ("", Reason.NOT_IN_ROSTER),
    ],
)
def test_without_tls_a_caller_is_who_it_says_and_the_roster_still_counts(
    federation: SmallFederation, said: str, expected: Reason | None
) -> None:
    claimed = context(metadata=((PARTY_KEY, said),))
    if expected is None:
        assert admit(claimed, "Join", federation.roster, plaintext=True).name == "client-1"
    else:
        with refused_with(expected):
            admit(claimed, "Join", federation.roster, plaintext=True)


def test_with_tls_what_a_caller_says_counts_for_nothing(federation: SmallFederation) -> None:
    claims = context(metadata=((PARTY_KEY, "client/client-1"),))
    with refused_with(Reason.NOT_IN_ROSTER):
        admit(claims, "Join", federation.roster, plaintext=False)


# ------------------------------------------------------------------------------------------------ over mutual TLS

ATTEMPT = {"run": "0" * 16, "round": 1, "attempt": 1}
SIGNED = {"commitment": b"c", "signature": bytes(64)}


LEDGER = {"number": 1, "hash": bytes(32), "life": bytes(16)}
BY_HOLDER = {**ATTEMPT, "signature": bytes(64), "ledger": LEDGER}
START = pb.SignedStart(
    start=start_to_bytes(HolderStart("0" * 16, "keyholder-1", bytes(16), Head(1, bytes(32)))), signature=bytes(64)
)
VOUCH = pb.SignedVouch(holder="keyholder-1", vouch=b"", signature=bytes(64))


async def streamed(*messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        yield message


CALLS: dict[str, Callable[[Any], Any]] = {
    "Join": lambda c: rpc.FederationStub(c).Join(pb.JoinRequest(), timeout=SECONDS),
    "FetchModel": lambda c: rpc.FederationStub(c).FetchModel(pb.ModelRequest(), timeout=SECONDS),
    "Commit": lambda c: rpc.FederationStub(c).Commit(pb.CommitRequest(commitment=SIGNED), timeout=SECONDS),
    "Submit": lambda c: rpc.FederationStub(c).Submit(
        streamed(pb.SubmitRequest(header={**ATTEMPT, "length": 1, "sha256": bytes(32)})), timeout=SECONDS
    ),
    "Attend": lambda c: rpc.KeyHoldingStub(c).Attend(pb.AttendRequest(start=START), timeout=SECONDS),
    "OfferKeys": lambda c: rpc.KeyHoldingStub(c).OfferKeys(pb.KeyOffer(**ATTEMPT), timeout=SECONDS),
    "VouchFor": lambda c: rpc.KeyHoldingStub(c).VouchFor(pb.Vouching(vouch=VOUCH), timeout=SECONDS),
    "Serve": lambda c: rpc.KeyHoldingStub(c).Serve(pb.ServeRequest(), timeout=SECONDS),
    "SignRequest": lambda c: rpc.KeyHoldingStub(c).SignRequest(pb.RequestSignature(**BY_HOLDER), timeout=SECONDS),
    "SignList": lambda c: rpc.KeyHoldingStub(c).SignList(pb.ListSignature(**BY_HOLDER), timeout=SECONDS),
    "FetchSubmissions": lambda c: rpc.KeyHoldingStub(c).FetchSubmissions(
        pb.SubmissionsRequest(**ATTEMPT, clients=["client-1"]), timeout=SECONDS
    ),
    "Release": lambda c: rpc.KeyHoldingStub(c).Release(streamed(pb.ReleaseRequest(header=ATTEMPT)), timeout=SECONDS),
    "FetchOpenedSum": lambda c: rpc.KeyHoldingStub(c).FetchOpenedSum(pb.OpenedSumRequest(**ATTEMPT), timeout=SECONDS),
    "EndorseModel": lambda c: rpc.KeyHoldingStub(c).EndorseModel(pb.ModelEndorsement(**BY_HOLDER), timeout=SECONDS),
    "DeclineTask": lambda c: rpc.KeyHoldingStub(c).DeclineTask(
        pb.Decline(**ATTEMPT, reason=Reason.BAD_SUM.value), timeout=SECONDS
    ),
    "FetchRoster": lambda c: rpc.MembershipStub(c).FetchRoster(pb.RosterRequest(), timeout=SECONDS),
    "Watch": lambda c: rpc.ObservationStub(c).Watch(pb.WatchRequest(), timeout=SECONDS),
    "Check": lambda c: health_pb2_grpc.HealthStub(c).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS),
    "ServerReflectionInfo": lambda c: reflection_pb2_grpc.ServerReflectionStub(c).ServerReflectionInfo(
        streamed(reflection_pb2.ServerReflectionRequest(list_services="")), timeout=SECONDS
    ),
}
ANSWERED = ("FetchRoster", "Check", "ServerReflectionInfo")
"""Calls that ask nothing of the run."""
REACHED = Reason.NO_MODEL


class Untouched:
    """A run that knows who is who; whatever else a handler asks of it shows that the handler was reached."""

    def __init__(self, federation: SmallFederation) -> None:
        self._federation = federation
        self.context = self
        self.identity = federation.server
        self.refusals: Counter[Reason] = Counter()
        self.lanes = Lanes()
        self.reached = 0

    @property
    def verifier(self) -> Verifier:
        return self._federation.verifier()

    def count_refusal(self, reason: Reason) -> None:
        self.refusals[reason] += 1

    def __getattr__(self, name: str) -> Any:
        self.reached += 1
        raise Refused(REACHED, f"a handler asked for {name}")


@dataclass
class Served:
    """A server on loopback, and what became of calls to it."""

    run: Untouched
    port: int

    async def call(
        self, name: str, credentials: grpc.ChannelCredentials | None, options: Any = ()
    ) -> tuple[str, float]:
        """How one caller's call ended: the refusal's name or the status; and after how many seconds."""
        began = time.perf_counter()
        async with self._channel(credentials, options) as channel:
            try:
                call = CALLS[name](channel)
                if hasattr(call, "read"):
                    await call.read()
                else:
                    await call
            except grpc.aio.AioRpcError as error:
                metadata = dict(error.trailing_metadata() or ())
                if 'Failed "execute_batch"' in (error.debug_error_string() or ""):
                    return await self.call(name, credentials, options)  # it hung up before our first message was sent
                return str(metadata.get(REASON_KEY, error.code().name)), time.perf_counter() - began
        return "answered", time.perf_counter() - began

    def _channel(self, credentials: grpc.ChannelCredentials | None, options: Any) -> grpc.aio.Channel:
        address = f"127.0.0.1:{self.port}"
        if credentials is None:
            return grpc.aio.insecure_channel(address)
        return grpc.aio.secure_channel(address, credentials, options=options)


@asynccontextmanager
async def served(federation: SmallFederation) -> AsyncIterator[Served]:
    run = Untouched(federation)
    server, port = await listen(run, "127.0.0.1:0")  # type: ignore[arg-type]
    try:
        yield Served(run, port)
    finally:
        await server.stop(None)


def outcomes(
    federation: SmallFederation, credentials: grpc.ChannelCredentials | None, options: Any = None
) -> tuple[dict[str, str], int]:
    """How each of the calls ended, none after more than SECONDS; and how often a handler was reached."""
    given_options = channel_options(federation.server) if options is None else options

    async def ask() -> tuple[dict[str, str], int]:
        async with served(federation) as server:
            found = {name: await server.call(name, credentials, given_options) for name in CALLS}
            assert max(seconds for _, seconds in found.values()) < SECONDS
            return {name: outcome for name, (outcome, _) in found.items()}, server.run.reached

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("client-1", Role.CLIENT),
        ("keyholder-1", Role.KEYHOLDER),
        ("server", Role.SERVER),
        ("observer", Role.OBSERVER),
    ],
)
def test_the_whole_matrix_over_mutual_tls(federation: SmallFederation, name: str, role: Role) -> None:
    found, reached = outcomes(federation, channel_credentials(federation[name]))
    passed = {call: "answered" if call in ANSWERED else REACHED for call in ALLOWED}
    assert found == {call: passed[call] if role in roles else Reason.WRONG_ROLE for call, roles in ALLOWED.items()}
    assert reached >= sum(role in roles for roles in ALLOWED.values()) - len(ANSWERED)


@pytest.mark.parametrize("name", ["client-2", "keyholder-2"])
def test_the_revoked_reach_no_handler(federation: SmallFederation, name: str) -> None:
    found, reached = outcomes(federation, channel_credentials(federation[name]))
    assert (set(found.values()), reached) == ({Reason.REVOKED}, 0)


def issued(federation: SmallFederation, role: Role, name: str, /, **changes: Any) -> grpc.ChannelCredentials:
    """A caller with a certificate of this federation's authority that is not in its roster as such."""
    authority = federation.registrar.authority
    given = {"federation": federation.roster.federation, "now": NOW} | changes
    peer = PeerName(given["federation"], role, name)
    return certified(federation, authority, peer, given["now"])


def certified(
    federation: SmallFederation, authority: certificates.Authority, peer: PeerName, now: datetime
) -> grpc.ChannelCredentials:
    key = certificates.new_key()
    certificate = certificates.issue(authority, peer, key.public_key(), now=now, years=1)
    return grpc.ssl_channel_credentials(federation.server.authority_pem, certificates.key_to_pem(key), certificate)


@pytest.mark.parametrize(
    ("role", "name", "changes", "expected"),
    [
        (Role.CLIENT, "stranger", {}, Reason.NOT_IN_ROSTER),
        (Role.KEYHOLDER, "client-1", {}, Reason.WRONG_ROLE),
        (Role.CLIENT, "client-1", {"federation": "f" * 16}, Reason.WRONG_FEDERATION),
    ],
)
def test_who_is_not_in_the_roster_as_that_reaches_no_handler(
    federation: SmallFederation, role: Role, name: str, changes: dict[str, str], expected: Reason
) -> None:
    found, reached = outcomes(federation, issued(federation, role, name, **changes))
    assert (set(found.values()), reached) == ({expected}, 0)


def no_certificate(federation: SmallFederation) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(federation.server.authority_pem)


def expired(federation: SmallFederation) -> grpc.ChannelCredentials:
    return issued(federation, Role.CLIENT, "client-1", now=NOW - timedelta(days=366))


def not_yet(federation: SmallFederation) -> grpc.ChannelCredentials:
    return issued(federation, Role.CLIENT, "client-1", now=NOW + timedelta(days=30))


def other_authority(federation: SmallFederation) -> grpc.ChannelCredentials:
    """The same names, certified by another authority of the same name."""
    name = federation.roster.federation
    impostor = certificates.make_authority(name, 1, now=NOW)
    return certified(federation, impostor, PeerName(name, Role.CLIENT, "client-1"), NOW)


def self_signed(federation: SmallFederation) -> grpc.ChannelCredentials:
    authority = certificates.make_authority(federation.roster.federation, 1, now=NOW)
    key, certificate = certificates.key_to_pem(authority.key), certificates.to_pem(authority.certificate)
    return grpc.ssl_channel_credentials(federation.server.authority_pem, key, certificate)


def plaintext(_: SmallFederation) -> None:
    return None


@pytest.mark.parametrize("stranger", [no_certificate, expired, not_yet, other_authority, self_signed, plaintext])
def test_a_caller_without_the_authoritys_certificate_makes_no_call(
    federation: SmallFederation, stranger: Callable[[SmallFederation], grpc.ChannelCredentials | None]
) -> None:
    found, reached = outcomes(federation, stranger(federation))
    assert (set(found.values()), reached) == ({"UNAVAILABLE"}, 0)


def test_who_is_revoked_while_the_server_runs_is_refused_from_then_on(tmp_path: Any) -> None:
    federation = SmallFederation(tmp_path / "federation")

    async def story() -> None:
        async with served(federation) as server:
            asked = ("FetchModel", channel_credentials(federation["client-1"]), channel_options(federation.server))
            assert (await server.call(*asked))[0] == REACHED
            federation.revoke("client-1")
            assert (await server.call(*asked))[0] == Reason.REVOKED

    asyncio.run(story())


def test_a_caller_that_watches_the_health_must_prove_who_it_is_too(federation: SmallFederation) -> None:
    async def first(name: str) -> str:
        async with served(federation) as server:
            channel = server._channel(channel_credentials(federation[name]), channel_options(federation.server))
            async with channel:
                watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
                try:
                    return str((await watch.read()).status)
                except grpc.aio.AioRpcError as error:
                    return str(dict(error.trailing_metadata() or ())[REASON_KEY])

    assert asyncio.run(first("client-1")) == str(health_pb2.HealthCheckResponse.SERVING)
    assert asyncio.run(first("client-2")) == Reason.REVOKED
