"""A proxy between a worker and its scheduler: while it is stopped (SIGSTOP), they are cut off."""

import asyncio
import sys
from contextlib import suppress


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while content := await reader.read(1 << 16):
            writer.write(content)
            await writer.drain()
    writer.close()


async def _serve(port: int) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_forward(reader, other_writer), _forward(other_reader, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    host, own = server.sockets[0].getsockname()
    sys.stdout.write(f"tls://{host}:{own}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
