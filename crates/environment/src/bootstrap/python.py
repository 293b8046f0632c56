"""Loads a function and serves it over the frame socket on descriptor 3, one invocation at a time.

Source of the behaviour: AWS Lambda Developer Guide, "Define Lambda function handler in Python"; the error and log forms
are those of AWS's own runtime interface client, re-implemented.
"""

import os
import sys
from struct import Struct

SOCKET = 3
HEADER = 13
LOAD, INVOKE, HELLO, READY, RESULT, ERROR, INIT_ERROR = 1, 2, 16, 17, 18, 19, 20
RESULT_BYTES_MAX = 6291556
READ_BYTES = 256 * 1024

# Captured before user code can patch them by accident.
_read, _write, _exit, _getpid = os.read, os.write, os._exit, os.getpid
_header = Struct("<IBQ")
_number = Struct("<I")
_record = Struct(">IIq")

_process = _getpid()
_request_id = None


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


def greet():
    _socket.send(HELLO, 0, _number.pack(1))


_socket = Socket()
_is_standby = "AWS_LAMBDA_FUNCTION_NAME" not in os.environ
# The server learns that the process runs before the rest of this file costs time; of one that waits for a function it
# learns when it is of use.
if not _is_standby:
    greet()

import _sitebuiltins
import builtins
import importlib
import json
import logging
import marshal
import time
import traceback

_dumps, _loads, _time = json.dumps, json.loads, time.time
_marshal = marshal.dumps


class Fault(Exception):
    """An error of the runtime rather than of the function."""

    def __init__(self, kind, message, trace=None):
        super().__init__(message)
        self.kind = "Runtime." + kind
        self.message = message
        self.trace = trace


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


LEVELS = {"TRACE": "DEBUG"}
RESERVED = frozenset(
    (
        "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created "
        "msecs relativeCreated thread threadName processName process aws_request_id tenant_id taskName"
    ).split()
)
TEXT, JSON = 0xA55A0003, 0xA55A0002
_json_log = False


def record_out(kind, level, text):
    """Writes one event of the log: a record of kind, length, time and text, so that a message of several lines stays one.

    The form is that of AWS's telemetry descriptor; here it goes through standard output, in order with what else does.
    """
    data = text.encode("utf-8", "backslashreplace")
    level = min(50, max(0, level)) // 10
    kind |= (level + 1) << 2 if level else 0
    frame = memoryview(_record.pack(kind, len(data), int(_time() * 1000000)) + data)
    try:
        while frame:
            frame = frame[_write(1, frame) :]
    except OSError:
        # The log is closed; the function goes on.
        pass


class Handler(logging.Handler):
    def emit(self, record):
        record_out(JSON if _json_log else TEXT, record.levelno, self.format(record))


class JsonFormatter(logging.Formatter):
    def format(self, record):
        level = min(50, max(0, record.levelno)) // 10 * 10
        error = record.exc_info
        event = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": logging.getLevelName(level),
            "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
            "logger": record.name,
            "stackTrace": traceback.format_tb(error[2]) if error else None,
            "errorType": error[0].__name__ if error and error[0] else None,
            "errorMessage": str(error[1]) if error else None,
            "requestId": getattr(record, "aws_request_id", None),
            "location": "{}:{}:{}".format(record.pathname, record.funcName, record.lineno) if error else None,
        }
        event.update((key, value) for key, value in record.__dict__.items() if key not in RESERVED and key not in event)
        event = {key: value for key, value in event.items() if value is not None}
        return _dumps(event, ensure_ascii=False, default=str) + "\n"


def set_up_log():
    global _json_log
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        setattr(sys, name, Unbuffered(stream))
    logging.Formatter.converter = time.gmtime
    _json_log = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    handler = Handler()
    if _json_log:
        handler.setFormatter(JsonFormatter())
    else:
        form = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
        handler.setFormatter(logging.Formatter(form, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(Filter())
    root = logging.getLogger()
    if LEVELS.get(level, level) in logging._nameToLevel:
        root.setLevel(LEVELS.get(level, level))
    root.addHandler(handler)


def log_error(document):
    if _json_log:
        event = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "ERROR"}
        event.update(document)
        record_out(JSON, logging.ERROR, encode(event).decode())
        return
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
    record_out(TEXT, logging.ERROR, "\n".join(lines))


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
    # As plain tuples, which AWS's client makes of them too: they are written without marks below the line.
    frames = [
        (frame.filename, frame.lineno, frame.name, frame.line) for frame in traceback.extract_tb(error.__traceback__)
    ]
    for index, frame in enumerate(frames):
        if frame[0] != __file__:
            frames = frames[index:]
            break
    try:
        message = str(error)
    except Exception:
        message = ""
    return error_document(message, type(error).__name__, traceback.format_list(frames), request_id)


# ------------------------------------------------------------------------------------------------- results

_ascii = True


def encode(value):
    """The JSON of a result as AWS's client writes it: named tuples as objects, decimals as they are, bytes as text."""
    try:
        # Refuses whatever is not exactly a plain container or scalar, at a fraction of what the encoding costs; only
        # plain values are written alike by the standard library.
        _marshal(value, 2)
        return _dumps(value, ensure_ascii=_ascii).encode("utf-8")
    except Exception:
        # Whatever went wrong goes wrong there again, with the words of AWS's client.
        parts = []
        write_value(value, parts.append, set())
        return "".join(parts).encode("utf-8")


def write_text(value):
    return _dumps(str.__str__(value), ensure_ascii=_ascii)


def write_float(value):
    return _dumps(float.__float__(value))


def write_key(key):
    if isinstance(key, str):
        return write_text(key)
    if isinstance(key, bytes):
        return write_text(key.decode("utf-8"))
    if isinstance(key, float):
        return write_text(write_float(key))
    if key is True or key is False or key is None:
        return write_text(_dumps(key))
    if isinstance(key, int):
        return write_text(int.__repr__(key))
    raise TypeError("keys must be str, int, float, bool or None, not " + key.__class__.__name__)


def write_value(value, out, above):
    if isinstance(value, str):
        return out(write_text(value))
    if isinstance(value, bytes):
        return out(write_text(value.decode("utf-8")))
    if value is None or value is True or value is False:
        return out(_dumps(value))
    if isinstance(value, int):
        return out(int.__repr__(value))
    if isinstance(value, float):
        return out(write_float(value))
    fields = getattr(value, "_asdict", None)
    fields = fields() if callable(fields) else None
    if fields is not None and not isinstance(fields, dict):
        raise TypeError("_asdict() must return a dict, not {}".format(type(fields).__name__))
    if fields is None and isinstance(value, dict):
        fields = value
    if fields is None and not isinstance(value, (list, tuple)):
        return write_other(value, out)
    if id(value) in above:
        raise ValueError("Circular reference detected")
    above.add(id(value))
    separator = ""
    if fields is None:
        out("[")
        for item in value:
            out(separator)
            separator = ", "
            write_value(item, out, above)
        out("]")
    else:
        out("{")
        for key, item in fields.items():
            out(separator)
            separator = ", "
            out(write_key(key) + ": ")
            write_value(item, out, above)
        out("}")
    above.discard(id(value))


def write_other(value, out):
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return out("NaN" if value.is_nan() else str(value))
    raise TypeError("Object of type {} is not JSON serializable".format(type(value).__name__))


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


def run(handler, constants, about, event):
    context = LambdaContext(constants, about)
    try:
        event = _loads(event)
    except Exception as error:
        raise Fault("UnmarshalError", "Unable to unmarshal input: {}".format(error)) from None
    response = handler(event, context)
    if isinstance(response, bytes):
        return response
    try:
        return encode(response)
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
            socket.send(ERROR, sequence, b"\0" + encode(document))
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


def warm_up():
    """Started without a function, a process has time until it gets one: what most functions need is loaded meanwhile,
    and what loading and calling one takes is done once, so that it lies in memory.
    """
    for name in ("base64", "datetime", "hashlib", "hmac"):
        importlib.import_module(name)
    try:
        importlib.import_module("rehearsal_of_what_is_not_there")
    except ImportError:
        pass
    compile("import a\ndef f(b, *c, d=1):\n    return {'e': [b], **d} if c else (b, d)\n", "rehearsal", "exec")
    rehearsed = dict.fromkeys(("logGroup", "logStream", "functionName", "memorySize", "functionVersion"), "")
    run(lambda event, context: event, rehearsed, {"id": "", "arn": "", "deadline": 0}, b'{"a": ["b", 1]}')


def become(environment):
    """Takes on the environment of the function: what a process gets by being started with it."""
    for name in list(os.environ):
        if name not in environment:
            del os.environ[name]
    os.environ.update(environment)
    time.tzset()


def find_modules(root, layers):
    """Looks for modules in the function first, then in its layers, then in what comes with the interpreter."""
    version = "python{}.{}".format(*sys.version_info[:2])
    sys.path[:1] = [root, "{}/python/lib/{}/site-packages".format(layers, version), layers + "/python"]
    # The interpreter runs without `site`, which costs a third of its start and half of its memory: what that would
    # have added is added here, but for what packages ask to be run.
    for packages in ("{}/lib/{}/site-packages".format(sys.prefix, version), "/usr/lib/python3/dist-packages"):
        if packages not in sys.path and os.path.isdir(packages):
            sys.path.append(packages)
    if not hasattr(builtins, "exit"):
        builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
        builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")
    importlib.invalidate_caches()


def main():
    global _ascii
    if _is_standby:
        warm_up()
        greet()
    _kind, _sequence, body = _socket.receive()
    constants = _loads(body)
    if constants.get("environment") is not None:
        become(constants["environment"])
        os.chdir(constants["taskRoot"])
    _ascii = constants["ensureAscii"]
    find_modules(constants["taskRoot"], constants.get("layersRoot", "/opt"))
    set_up_log()
    try:
        handler = load_handler(constants["handler"])
    except Exception as error:
        document = describe(error, "")
        log_error(document)
        _socket.send(INIT_ERROR, 0, encode(document))
        sys.exit(1)
    _socket.send(READY, 0, b"")
    serve(_socket, handler, constants)


main()
