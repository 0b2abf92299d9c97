"""When Postfix is slow, when clients are many or endless, when the relay stops: quick 4xx, bounded memory, nothing lost."""

import asyncio
import time
import tracemalloc

from omicard_relay.services.relay.memory import MemoryBudget


async def try_mail(world, number):
    client = await world.client(hello=False)
    if not client.greeting.startswith("220"):
        return client.greeting
    await client.hello()
    await client.begin()
    return await client.data(b"mail %d\r\n" % number)


async def test_a_stalling_next_server_gives_300_clients_4xx_quickly(world):
    world.hop.answers["."] = ["STALL"]
    await world.start(pool_size=4, pool_wait_seconds=0.5, next_timeout_seconds=1.5, max_connections=200)
    begun = time.monotonic()

    replies = await asyncio.gather(*(try_mail(world, number) for number in range(300)))

    took = time.monotonic() - begun
    kinds = {reply[:9] for reply in replies}
    assert kinds == {"421 4.3.2", "451 4.3.2"}
    assert sum(reply.startswith("421") for reply in replies) == 100
    assert took < 10  # one time-out of the next server, 1.5 s, and a slow machine
    assert world.hop.connections <= 4
    assert world.relays[0].door.budget.used == 0
    assert world.hop.mails == []


async def test_once_stalled_nobody_waits_and_no_content_is_taken(world):
    world.hop.answers["."] = ["STALL"]
    relay = await world.start(pool_size=1, pool_wait_seconds=0.1, next_timeout_seconds=60)
    first, second = await world.client(), await world.client()
    await first.begin()
    first.send("DATA")
    first.send("x\r\n.")
    await world.until(lambda: relay.pool.is_stalled)
    begun = time.monotonic()

    await second.begin()
    assert (await second.say("DATA")).startswith("451 4.3.2")

    assert time.monotonic() - begun < 1
    assert relay.door.budget.used > 0


async def test_who_waits_in_the_pool_is_served_in_order_when_one_comes_free(world):
    go = asyncio.Event()

    async def hold(got):
        await go.wait()

    world.hop.on_mail = hold
    await world.start(pool_size=1, pool_wait_seconds=20)
    clients = [await world.client() for _ in range(5)]
    running = []
    for number, client in enumerate(clients):
        running.append(asyncio.create_task(client.mail(b"%d\r\n" % number)))
        await world.until(lambda number=number: len(world.relays[0].handler.running) == number + 1)
        await world.until(lambda number=number: world.relays[0].pool.waiting == number)
    world.hop.on_mail = None
    go.set()

    assert all(reply.startswith("250") for reply in await asyncio.gather(*running))
    assert [mail.body for mail in world.hop.mails] == [b"%d\r\n" % number for number in range(5)]
    assert world.hop.connections == 1


async def test_a_hundred_megabytes_are_refused_in_bounded_memory(world):
    await world.start(size_limit=1_000_000)
    client = await world.client()
    await client.begin()
    assert (await client.say("DATA")).startswith("354")
    block = (b"x" * 98 + b"\r\n") * 1000
    tracemalloc.start()
    try:
        for _ in range(1000):
            client.writer.write(block)
            await client.writer.drain()
        reply = await client.say(".")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert reply.startswith("552 5.3.4")
    assert peak < 10_000_000
    assert (await client.mail(b"small\r\n")).startswith("250")


async def test_a_line_without_end_in_the_content_takes_no_memory(world):
    relay = await world.start()
    client = await world.client()
    await client.begin()
    assert (await client.say("DATA")).startswith("354")
    tracemalloc.start()
    try:
        for _ in range(300):
            client.writer.write(b"x" * 100_000)
            await client.writer.drain()
        reply = await client.say("\r\n.")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert reply.startswith("554 5.6.0")
    assert peak < 5_000_000
    assert relay.door.budget.used == 0


async def test_all_mails_together_may_hold_so_much(world):
    go = asyncio.Event()

    async def hold(got):
        await go.wait()

    world.hop.on_mail = hold
    relay = await world.start(memory_limit=100_000, size_limit=90_000)
    big, other, third = [await world.client() for _ in range(3)]
    content = (b"x" * 98 + b"\r\n") * 800
    running = asyncio.create_task(big.mail(content))
    await world.until(lambda: relay.door.budget.used == 80_000)

    assert (await other.mail(content)).startswith("452 4.3.1")
    await third.begin(options=" SIZE=80000")
    assert (await third.say("DATA")).startswith("452 4.3.1")
    assert relay.door.budget.used == 80_000
    world.hop.on_mail = None
    go.set()
    assert (await running).startswith("250")
    assert relay.door.budget.used == 0
    assert (await other.mail(content)).startswith("250")


async def test_a_client_that_leaves_in_the_middle_of_a_mail_leaves_nothing(world):
    relay = await world.start()
    client = await world.client()
    await client.begin()
    await client.say("DATA")
    client.writer.write(b"half a mail\r\n")
    await world.until(lambda: relay.door.budget.used > 0)
    client.close()

    await world.until(lambda: not relay.door.connected)
    assert relay.door.budget.used == 0
    assert world.hop.mails == []
    assert world.rows() == []


async def test_one_connection_too_many_hears_421(world):
    await world.start(max_connections=2)
    kept = [await world.client() for _ in range(2)]

    third = await world.client(hello=False)
    assert third.greeting.startswith("421 4.3.2")
    assert await third.reply() == ""
    assert (await kept[0].mail()).startswith("250")
    kept[1].close()
    await world.until(lambda: len(world.relays[0].door.connected) == 1)
    assert (await world.client(hello=False)).greeting.startswith("220")


async def test_a_stop_lets_the_running_mail_end_and_tells_idle_clients(world):
    started, go = asyncio.Event(), asyncio.Event()

    async def hold(got):
        started.set()
        await go.wait()

    world.hop.on_mail = hold
    relay = await world.start()
    busy, idle = await world.client(), await world.client()
    running = asyncio.create_task(busy.mail())
    await started.wait()
    stopping = asyncio.create_task(relay.stop(5))

    assert (await idle.reply()).startswith("421 4.3.2")
    go.set()
    assert (await running).startswith("250")
    assert (await busy.reply()).startswith("421 4.3.2")
    await stopping
    assert [row.state for row in world.rows()] == ["queued"]
    assert world.rows()[0].answered is not None


async def test_a_stop_does_not_wait_for_ever(world):
    world.hop.answers["."] = ["STALL"]
    relay = await world.start()
    client = await world.client()
    await client.begin()
    client.send("DATA")
    client.send("x\r\n.")
    await world.until(lambda: bool(relay.handler.running))
    await world.until(lambda: "DATA" in world.hop.commands)
    await client.reply()

    await relay.stop(0.1)

    assert (await client.reply()).startswith("421 4.3.2")
    assert world.states() == {"ann@a.test": "handing-over"}


async def test_a_thousand_recipients_each_with_a_reverse_path(world, return_path):
    await world.start(return_path=return_path)
    client = await world.client()
    client.send("MAIL FROM:<news@shop.test>")
    for number in range(1000):
        client.send(f"RCPT TO:<r{number}@a.test>")
    client.send("DATA")
    replies = [await client.reply() for _ in range(1002)]
    assert {reply[:3] for reply in replies[:-1]} == {"250"}

    assert (await client.say("x\r\n.")).startswith("250")

    assert sorted(path for mail in world.hop.mails for path in mail.forward_paths) == sorted(
        f"r{number}@a.test" for number in range(1000)
    )
    assert len({mail.reverse_path for mail in world.hop.mails}) == 1000
    assert world.hop.connections <= 8
    rows = world.rows()
    assert len({row.queue_id for row in rows}) == 1000
    assert {row.state for row in rows} == {"queued"}


def test_a_lease_is_given_back_once():
    budget = MemoryBudget(10)
    one, two = budget.lease(), budget.lease()

    assert one.reserve(6)
    assert not two.reserve(5)
    assert two.reserve(4)
    one.release()
    one.release()
    assert budget.used == 4
