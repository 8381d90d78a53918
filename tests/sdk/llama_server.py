"""llama.cpp's own HTTP server on a free loopback port, until standard input closes.

Prints one line, its URL, when it listens. It runs as a process of its own so that its crash or exit is nobody else's.
"""

import sys

import xllamacpp


def main(model, alias, grammar=""):
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {alias}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 4096
    params.n_parallel = 2
    params.cpuparams.n_threads = 1
    params.warmup = False
    params.offline = True
    params.ui = False
    if grammar:
        # For the APIs that do not pass a request's own grammar on (Anthropic's).
        default = xllamacpp.CommonGrammar()
        default.type = xllamacpp.common_grammar_type.COMMON_GRAMMAR_TYPE_USER
        default.grammar = grammar
        params.sampling.grammar = default
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
