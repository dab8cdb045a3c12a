"""KServe's model server with a model of scikit-learn's on this machine only, until it is ended: kserve_server.py MODEL.joblib NAME PORT

It does what KServe's own server for scikit-learn does (`sklearnserver`, which is published as an image alone): it answers
with classes, or, where PREDICT_PROBA is `true`, with the probability of each.
"""

import os
import socket
import sys

import joblib
from kserve import Model, ModelServer
from kserve.errors import InferenceError
from kserve.protocol.rest.server import RESTServer
from kserve.utils.utils import get_predict_input, get_predict_response


class SKLearnModel(Model):
    def __init__(self, name, path):
        super().__init__(name)
        self._model = joblib.load(path)
        self.ready = True

    def predict(self, payload, headers=None):
        try:
            instances = get_predict_input(payload)
            is_probability = os.environ.get("PREDICT_PROBA", "false").lower() == "true"
            answer = self._model.predict_proba if is_probability else self._model.predict
            return get_predict_response(payload, answer(instances), self.name)
        except Exception as problem:
            raise InferenceError(str(problem)) from problem


path, name, port = sys.argv[1:]
server = ModelServer(enable_grpc=False)
server.register_model(SKLearnModel(name, path))
# `server.start` would listen to every address of this machine.
listener = socket.create_server(("127.0.0.1", int(port)))
rest = RESTServer("kserve.model_server:app", server.dataplane, server.model_repository_extension, int(port))
rest.run(sockets=[listener])
