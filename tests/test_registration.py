"""The registrar's service: the same rules as with files, over TLS that the invitation pins, and bounded tries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from invited import NOW, Invited, Newcomer
from refusals import refused_with

from core.errors import ConnectionLostError, Reason, Refused, SettingsError
from core.identity import certificates
from core.identity.answer import read_answer
from core.identity.certificates import PeerName
from core.identity.enrolment import install
from core.identity.invitation import new_token
from core.identity.members import Role
from core.wire import registration_pb2 as pb
from core.wire import registration_pb2_grpc as rpc
from core.wire.registration import send_request
from registrar import service as module
from registrar.service import Ending, Registration, Tries, listen, serve

HOLDERS = ("keyholder-1", "keyholder-2", "keyholder-3")
Serving = Callable[..., Awaitable[str]]


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """Serve a registrar; gives the address."""
    servers = []

    async def start(service: Registration) -> str:
        server, port = await listen(service, "127.0.0.1:0")
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        await server.stop(None)


async def send(address: str, newcomer: Newcomer, patience: float = 20.0) -> bytes:
    return await asyncio.to_thread(send_request, address, newcomer.pending, patience)


async def test_a_client_enrols_over_the_network(made: Invited, serving: Serving) -> None:
    address, newcomer = await serving(Registration(made.registrar)), made.begin("client-1")
    card = install(newcomer.folder, newcomer.pending, await send(address, newcomer), NOW)
    assert (card.name, made.registrar.roster.member("client-1").number) == ("client-1", 1)
    again = await send(address, newcomer)
    assert read_answer(again, newcomer.invitation.registrar)[0].name == "client-1"
    assert made.registrar.roster.version == 2


async def test_what_files_refuse_the_service_refuses(made: Invited, serving: Serving) -> None:
    address = await serving(Registration(made.registrar))
    await send(address, made.begin("client-1"))
    thief = made.begin("thief", made.invitation("client-1"))
    with refused_with(Reason.INVITATION, "used up"):
        await send(address, thief)
    guess = made.begin("guess", replace(made.invitation("client-2"), token=new_token()))
    with refused_with(Reason.INVITATION, "knows no such invitation"):
        await send(address, guess)


async def test_who_comes_before_the_federation_is_complete_is_answered_when_it_is(
    waiting: Invited, serving: Serving
) -> None:
    service = Registration(waiting.registrar)
    address = await serving(service)
    early = [asyncio.create_task(send(address, waiting.begin(name))) for name in ("server", *HOLDERS[:2])]
    while len(service._waiting) < 3:
        service.changed.clear()
        await service.changed.wait()
    assert not service.complete()
    await send(address, waiting.begin("keyholder-3"))
    answers = await asyncio.gather(*early)
    registrar = waiting.invitation("server").registrar
    assert [read_answer(raw, registrar)[0].name for raw in answers] == ["server", *HOLDERS[:2]]
    assert not service.complete(), "two clients are invited"


async def test_a_newcomer_without_patience_is_told_who_is_missing(waiting: Invited, serving: Serving) -> None:
    address = await serving(Registration(waiting.registrar))
    with refused_with(Reason.NOT_COMPLETE, r"when keyholder-1, keyholder-2, keyholder-3 have come too; run the same"):
        await send(address, waiting.begin("server"), patience=0.1)


# ------------------------------------------------------------------------------------------------ who is believed


async def test_a_service_of_another_authority_is_not_believed(made: Invited, serving: Serving, tmp_path: Path) -> None:
    other = Invited.make(tmp_path / "other").found()
    address = await serving(Registration(other.registrar))
    with pytest.raises(ConnectionLostError, match="no registrar of this federation answers"):
        await send(address, made.begin("client-1"), patience=0.5)


async def test_a_member_with_a_certificate_of_the_federation_cannot_play_the_registrar(made: Invited) -> None:
    registrar, key = made.registrar, certificates.new_key()
    peer = PeerName(registrar.federation, Role.SERVER, "server")
    certificate = certificates.issue(registrar.authority, peer, key.public_key(), now=NOW)
    server = grpc.aio.server()
    rpc.add_RegistrationServicer_to_server(Registration(registrar), server)
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([(certificates.key_to_pem(key), certificate)])
    )
    await server.start()
    with pytest.raises(ConnectionLostError, match="no registrar of this federation answers"):
        await send(f"127.0.0.1:{port}", made.begin("client-1"), patience=0.5)
    await server.stop(None)


# ------------------------------------------------------------------------------------------------ bounds


async def test_an_oversized_request_is_not_taken_in(made: Invited, serving: Serving) -> None:
    address = await serving(Registration(made.registrar))
    registrar = made.registrar
    credentials = grpc.ssl_channel_credentials(certificates.to_pem(registrar.authority.certificate))
    name = certificates.registration_name(registrar.federation)
    options = (("grpc.ssl_target_name_override", name),)
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        enrol = rpc.RegistrationStub(channel).Enrol
        for size, code in ((9000, grpc.StatusCode.INVALID_ARGUMENT), (100_000, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in enrol(pb.EnrolRequest(request=b" " * size)):
                    pass
            assert caught.value.code() is code


async def test_tries_of_one_address_are_limited_and_others_still_come(
    made: Invited, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    service = Registration(made.registrar, clock=lambda: now)
    newcomer = made.begin("client-1")
    for _ in range(module.MOST_TRIES):
        with refused_with(Reason.MALFORMED):
            await service.answer(b"{", "ipv4:192.0.2.1")
    with refused_with(Reason.TOO_MANY_TRIES, "too many requests from this address were refused; try again in 10"):
        await service.answer(newcomer.pending.request, "ipv4:192.0.2.1")
    assert (await service.answer(newcomer.pending.request, "ipv4:192.0.2.2")).name == "client-1"
    now = module.TRIES_SECONDS + 1
    assert (await service.answer(newcomer.pending.request, "ipv4:192.0.2.1")).name == "client-1"


async def test_tries_with_one_invitation_are_limited_whatever_the_address(made: Invited) -> None:
    service = Registration(made.registrar)
    await service.answer(made.begin("client-1").pending.request, "a")
    thief = made.begin("thief", made.invitation("client-1"))
    for number in range(module.MOST_TRIES):
        with refused_with(Reason.INVITATION):
            await service.answer(thief.pending.request, f"address {number}")
    with refused_with(Reason.TOO_MANY_TRIES, "with this invitation"):
        await service.answer(thief.pending.request, "another")
    assert (await service.answer(made.begin("client-2").pending.request, "another")).name == "client-2"


def test_addresses_that_are_counted_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REMEMBERED", 2)
    tries = Tries(lambda: 0.0)
    tries.failed("a")
    tries.failed("b")
    tries.check("a", "")
    with pytest.raises(Refused):
        tries.check("c", "")


# ------------------------------------------------------------------------------------------------ its end


async def test_it_ends_when_all_who_were_invited_have_come(made: Invited, capsys: pytest.CaptureFixture[str]) -> None:
    service = Registration(made.registrar)
    ending = asyncio.create_task(serve(service, "127.0.0.1:0", Ending(complete=True)))
    for name in ("client-1", "client-2"):
        assert not ending.done()
        await service.answer(made.begin(name).pending.request, "here")
    assert await ending == "all who were invited have come"
    assert "listening on 127.0.0.1:" in capsys.readouterr().out


async def test_it_ends_when_no_one_has_come_for_a_while(made: Invited) -> None:
    now = 0.0
    service = Registration(made.registrar, clock=lambda: now)
    ending = asyncio.create_task(serve(service, "127.0.0.1:0", Ending(quiet=60.0, at_least=1)))
    now = 599.0
    await service.answer(made.begin("client-1").pending.request, "here")
    now = 658.0
    service.changed.set()
    assert (await asyncio.wait({ending}, timeout=0.05))[0] == set()
    now = 659.0
    service.changed.set()
    assert await ending == "no one has come for 60 seconds"


async def test_it_ends_after_ten_minutes_though_fewer_came_than_it_waits_for(made: Invited) -> None:
    now = 0.0
    service = Registration(made.registrar, clock=lambda: now)
    ending = asyncio.create_task(serve(service, "127.0.0.1:0", Ending(quiet=60.0, at_least=1)))
    assert (await asyncio.wait({ending}, timeout=0.05))[0] == set()
    now = 600.0
    service.changed.set()
    assert await ending == "no one has come for 600 seconds"


async def test_an_address_in_use_is_one_sentence(made: Invited, serving: Serving) -> None:
    address = await serving(Registration(made.registrar))
    with pytest.raises(SettingsError, match=f"cannot listen on {address}; it is in use"):
        await listen(Registration(made.registrar), address)
