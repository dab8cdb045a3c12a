"""llama.cpp's own HTTP server on this machine only, until it is ended: llama_cpp_server.py FILE.gguf NAME PORT"""

import signal
import sys

import xllamacpp

path, name, port = sys.argv[1:]
parameters = xllamacpp.CommonParams()
parameters.model.path = path
parameters.model_alias = {name}
parameters.hostnames = ["127.0.0.1"]
parameters.port = int(port)
parameters.n_parallel = 8
parameters.n_ctx = 8 * 4096
parameters.cpuparams.n_threads = 1  # it is too small for more
server = xllamacpp.Server(parameters)
print(f"serving {name} at {server.listening_address}", flush=True)
signal.pause()
