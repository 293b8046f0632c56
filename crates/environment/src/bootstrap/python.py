"""Loads a function and serves it over the frame socket on descriptor 3, one invocation at a time.

Source of the behaviour: AWS Lambda Developer Guide, "Define Lambda function handler in Python"; the error and log forms
are those of AWS's own runtime interface client, re-implemented.
"""

import importlib
import json
import logging
import os
import struct
import sys
import time
import traceback
from decimal import Decimal

SOCKET = 3
HEADER = 13
LOAD, INVOKE, HELLO, READY, RESULT, ERROR, INIT_ERROR = 1, 2, 16, 17, 18, 19, 20
RESULT_BYTES_MAX = 6291556
READ_BYTES = 256 * 1024

# Captured before user code can patch them by accident.
_read, _write, _exit, _getpid, _time = os.read, os.write, os._exit, os.getpid, time.time
_dumps, _loads = json.dumps, json.loads
_header = struct.Struct("<IBQ")
_number = struct.Struct("<I")

_process = _getpid()
_request_id = None


class Fault(Exception):
    """An error of the runtime rather than of the function."""

    def __init__(self, kind, message, trace=None):
        super().__init__(message)
        self.kind = "Runtime." + kind
        self.message = message
        self.trace = trace


# ------------------------------------------------------------------------------------------------- frames


class Socket:
    """The frame socket; reads block, so that nothing runs between invocations but threads of the function."""

    def __init__(self):
        self.buffer = b""
        # Programs the function starts must not get the socket.
        os.set_inheritable(SOCKET, False)

    def receive(self):
        buffer = self.buffer
        while len(buffer) < HEADER:
            buffer += self._more()
        length, kind, sequence = _header.unpack_from(buffer)
        end = length + 4
        if len(buffer) < end:
            parts, have = [buffer], len(buffer)
            while have < end:
                parts.append(self._more())
                have += len(parts[-1])
            buffer = b"".join(parts)
        self.buffer = buffer[end:]
        return kind, sequence, buffer[HEADER:end]

    def _more(self):
        more = _read(SOCKET, READ_BYTES)
        if not more:
            # The server is gone: so are we.
            _exit(0)
        return more

    def send(self, kind, sequence, body):
        # A forked child that comes back into this loop must not speak for its parent.
        if _getpid() != _process:
            _exit(0)
        frame = memoryview(_header.pack(HEADER - 4 + len(body), kind, sequence) + body)
        while frame:
            frame = frame[_write(SOCKET, frame) :]


# ------------------------------------------------------------------------------------------------- log


class Unbuffered:
    """A stream that keeps nothing back, so that output belongs to the invocation it was made in."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        pass

    def write(self, text):
        written = self._stream.write(text)
        self._stream.flush()
        return written

    def writelines(self, lines):
        self._stream.writelines(lines)
        self._stream.flush()


class Filter(logging.Filter):
    def filter(self, record):
        record.aws_request_id = _request_id or ""
        record.tenant_id = None
        return True


class Handler(logging.Handler):
    def emit(self, record):
        sys.stdout.write(self.format(record))


def set_up_log():
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        setattr(sys, name, Unbuffered(stream))
    logging.Formatter.converter = time.gmtime
    handler = Handler()
    handler.setFormatter(
        logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S"
        )
    )
    handler.addFilter(Filter())
    logging.getLogger().addHandler(handler)


def log_error(document):
    first = "[ERROR]"
    if document["errorType"]:
        first += " " + document["errorType"]
    if document["errorMessage"]:
        first += (":" if document["errorType"] else "") + " " + document["errorMessage"]
    lines = [first, "Traceback (most recent call last):"]
    for element in document["stackTrace"]:
        for line in element.splitlines() or [""]:
            bare = line.lstrip(" ")
            lines.append("\u00a0" * (len(line) - len(bare)) + bare)
    try:
        sys.stdout.write("\r".join(lines) + "\n")
    except Exception:
        # The log is closed; the function goes on.
        pass


# ------------------------------------------------------------------------------------------------- errors


def error_document(message, kind, trace, request_id):
    return {
        "errorMessage": message or "",
        "errorType": kind or "",
        "requestId": request_id or "",
        "stackTrace": trace or [],
    }


def describe(error, request_id):
    if isinstance(error, Fault):
        return error_document(error.message, error.kind, error.trace, request_id)
    frames = traceback.extract_tb(error.__traceback__)
    for index, frame in enumerate(frames):
        if frame.filename != __file__:
            frames = frames[index:]
            break
    try:
        message = str(error)
    except Exception:
        message = ""
    return error_document(message, type(error).__name__, traceback.format_list(frames), request_id)


def to_bytes(document):
    return _dumps(document).encode("utf-8", "surrogatepass")


# ------------------------------------------------------------------------------------------------- loading


def load_handler(handler):
    module_name, dot, name = handler.rpartition(".")
    if not dot:
        raise Fault(
            "MalformedHandlerName",
            "Bad handler '{}': not enough values to unpack (expected 2, got 1)".format(handler),
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault("BuiltInModuleConflict", "Cannot use built-in module {} as a handler module".format(module_name))
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("ImportModuleError", "Unable to import module '{}': {}".format(module_name, error)) from None
    except SyntaxError as error:
        trace = ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)]
        message = "Syntax error in module '{}': {}".format(module_name, error)
        raise Fault("UserCodeSyntaxError", message, trace) from None
    try:
        return getattr(module, name)
    except AttributeError:
        raise Fault("HandlerNotFound", "Handler '{}' missing on module '{}'".format(name, module_name)) from None


# ------------------------------------------------------------------------------------------------- invoking


class Client:
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext:
    __slots__ = ("custom", "env", "client")

    def __init__(self, given):
        self.custom, self.env, self.client = given.get("custom"), given.get("env"), None
        if isinstance(given.get("client"), dict):
            self.client = Client()
            for name in Client.__slots__:
                setattr(self.client, name, given["client"].get(name))


class CognitoIdentity:
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self):
        self.cognito_identity_id = self.cognito_identity_pool_id = None


class LambdaContext:
    def __init__(self, constants, about):
        self.aws_request_id = about["id"]
        self.log_group_name = constants["logGroup"]
        self.log_stream_name = constants["logStream"]
        self.function_name = constants["functionName"]
        self.memory_limit_in_mb = constants["memorySize"]
        self.function_version = constants["functionVersion"]
        self.invoked_function_arn = about["arn"]
        self.tenant_id = None
        self.client_context = None
        self.identity = CognitoIdentity()
        self._epoch_deadline_time_in_ms = about["deadline"]
        if about.get("clientContext"):
            try:
                self.client_context = ClientContext(_loads(about["clientContext"]))
            except Exception as error:
                raise Fault(
                    "LambdaContextUnmarshalError", "Unable to parse Client Context JSON: {}".format(error)
                ) from None

    def get_remaining_time_in_millis(self):
        return max(int(self._epoch_deadline_time_in_ms - _time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))


def fallback(value):
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError("Object of type {} is not JSON serializable".format(type(value).__name__))


def run(handler, constants, about, event):
    context = LambdaContext(constants, about)
    try:
        event = _loads(event)
    except Exception as error:
        raise Fault("UnmarshalError", "Unable to unmarshal input: {}".format(error)) from None
    response = handler(event, context)
    try:
        return _dumps(response, ensure_ascii=constants["ensureAscii"], default=fallback).encode("utf-8")
    except Exception as error:
        raise Fault("MarshalError", "Unable to marshal response: {}".format(error)) from None


def serve(socket, handler, constants):
    global _request_id
    while True:
        kind, sequence, body = socket.receive()
        if kind != INVOKE:
            _exit(1)
        (length,) = _number.unpack_from(body)
        about = _loads(body[4 : 4 + length])
        _request_id = about["id"]
        if about.get("trace"):
            os.environ["_X_AMZN_TRACE_ID"] = about["trace"]
        else:
            os.environ.pop("_X_AMZN_TRACE_ID", None)
        try:
            result = run(handler, constants, about, body[4 + length :])
        except Exception as error:
            document = describe(error, _request_id)
            log_error(document)
            socket.send(ERROR, sequence, b"\0" + to_bytes(document))
            continue
        if len(result) > RESULT_BYTES_MAX:
            document = {
                "errorMessage": "Response payload size exceeded maximum allowed payload size "
                "({} bytes).".format(RESULT_BYTES_MAX),
                "errorType": "Function.ResponseSizeTooLarge",
            }
            socket.send(ERROR, sequence, b"\0" + _dumps(document, separators=(",", ":")).encode())
            continue
        socket.send(RESULT, sequence, result)


def main():
    socket = Socket()
    socket.send(HELLO, 0, _number.pack(1))
    _kind, _sequence, body = socket.receive()
    constants = _loads(body)
    sys.path[0] = constants["taskRoot"]
    sys.path.append("/opt/python")
    set_up_log()
    try:
        handler = load_handler(constants["handler"])
    except Exception as error:
        document = describe(error, "")
        log_error(document)
        socket.send(INIT_ERROR, 0, to_bytes(document))
        sys.exit(1)
    socket.send(READY, 0, b"")
    serve(socket, handler, constants)


main()
