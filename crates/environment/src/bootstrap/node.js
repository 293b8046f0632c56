'use strict';
// Loads a function and serves it over the frame socket on descriptor 3, one invocation at a time.
//
// Reads block on purpose: between invocations the event loop stands still, which is what AWS's freeze does to timers,
// and `beforeExit` fires exactly when the function's own work is done, because the socket is not in the loop.
// Whatever is used after user code has been loaded is captured first, so that a patched `fs` or `JSON` cannot break
// the protocol by accident.
//
// Source of the behaviour: AWS Lambda Developer Guide, "Define Lambda function handler in Node.js"; the error and log
// forms are those of AWS's own runtime interface client, re-implemented.

const fs = require('fs');
const path = require('path');
const util = require('util');
const { Writable } = require('stream');
const { pathToFileURL } = require('url');

const { readSync, writeSync, existsSync, readFileSync } = fs;
const { parse, stringify } = JSON;
const { format } = util;
const isNativeError = util.types.isNativeError;
const immediately = setImmediate;
const reallyExit = process.reallyExit.bind(process);
const now = Date.now;

const SOCKET = 3;
const HEADER = 13;
const KIND = { LOAD: 1, INVOKE: 2, HELLO: 16, READY: 17, RESULT: 18, ERROR: 19, INIT_ERROR: 20 };
const FLAG_EXITING = 1;
const RESULT_BYTES_MAX = 6291556;
const BUFFER_BYTES = 64 * 1024;

// ------------------------------------------------------------------------------------------------ frames

let buffer = Buffer.allocUnsafe(BUFFER_BYTES);
let have = 0;

function fill(wanted) {
  if (buffer.length < wanted) {
    const larger = Buffer.allocUnsafe(wanted);
    buffer.copy(larger, 0, 0, have);
    buffer = larger;
  }
  while (have < wanted) {
    let got;
    try {
      got = readSync(SOCKET, buffer, have, buffer.length - have, null);
    } catch (error) {
      if (error.code === 'EINTR' || error.code === 'EAGAIN') continue;
      reallyExit(1);
    }
    // The server is gone: so are we.
    if (got === 0) reallyExit(0);
    have += got;
  }
}

function receive(take) {
  fill(HEADER);
  const end = 4 + buffer.readUInt32LE(0);
  fill(end);
  const taken = take(buffer, buffer[4], end);
  buffer.copy(buffer, 0, end, have);
  have -= end;
  if (buffer.length > BUFFER_BYTES && have <= BUFFER_BYTES) {
    const smaller = Buffer.allocUnsafe(BUFFER_BYTES);
    buffer.copy(smaller, 0, 0, have);
    buffer = smaller;
  }
  return taken;
}

function writeAll(descriptor, bytes) {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(descriptor, bytes, at, bytes.length - at);
    } catch (error) {
      if (error.code !== 'EINTR' && error.code !== 'EAGAIN') throw error;
    }
  }
}

function send(kind, sequence, text, flags) {
  const extra = flags === undefined ? 0 : 1;
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(HEADER + extra + length);
  frame.writeUInt32LE(HEADER - 4 + extra + length, 0);
  frame[4] = kind;
  frame.writeBigUInt64LE(sequence, 5);
  if (extra) frame[HEADER] = flags;
  frame.write(text, HEADER + extra);
  try {
    writeAll(SOCKET, frame);
  } catch {
    reallyExit(1);
  }
}

// ------------------------------------------------------------------------------------------------ log

let requestId;

function say(level, message) {
  // One message is one event: AWS joins its lines with carriage returns.
  const line = `${new Date(now()).toISOString()}\t${requestId}\t${level}\t${message.replace(/\n/g, '\r')}\n`;
  try {
    writeAll(1, Buffer.from(line));
  } catch {
    // The log is closed; the function goes on.
  }
}

function patchConsole() {
  const levels = {
    trace: 'TRACE', debug: 'DEBUG', log: 'INFO', info: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL',
  };
  for (const [method, level] of Object.entries(levels)) {
    console[method] = (...values) => say(level, format(...values));
  }
}

function withEnumerable(_key, value) {
  if (!(value instanceof Error)) return value;
  const shown = Object.assign({ errorType: value.name, errorMessage: value.message, code: value.code }, value);
  if (typeof value.stack === 'string') shown.stack = value.stack.split('\n');
  return shown;
}

function sayError(title, error) {
  let text;
  try {
    text = stringify(error, withEnumerable);
  } catch {
    text = stringify(describe(error));
  }
  say('ERROR', `${title} \t${text}`);
}

// ------------------------------------------------------------------------------------------------ errors

function runtimeError(name, message) {
  const error = new Error(message);
  error.name = `Runtime.${name}`;
  if (typeof error.stack === 'string') error.stack = error.stack.replace(/^Error/, error.name);
  Object.defineProperty(error, 'name', { enumerable: false });
  return error;
}

function looksLikeError(value) {
  return value && typeof value.name === 'string' && value.name && typeof value.message === 'string' && value.message
    && typeof value.stack === 'string' && value.stack;
}

/** The document the caller of Invoke gets. */
function describe(error) {
  try {
    if (isNativeError(error) || looksLikeError(error)) {
      return { errorType: error.name, errorMessage: error.message, trace: error.stack.split('\n') };
    }
    return { errorType: typeof error, errorMessage: error.toString(), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of '
        + 'its message, name, and stack',
    };
  }
}

function documentOf(error) {
  try {
    return stringify(describe(error));
  } catch {
    return '{"errorType":"handled","errorMessage":"the error could not be described"}';
  }
}

// ------------------------------------------------------------------------------------------------ loading

function nearestIsModule(folder, root) {
  for (let at = folder; ; at = path.dirname(at)) {
    if (at.endsWith('/node_modules')) return false;
    const file = path.join(at, 'package.json');
    if (existsSync(file)) {
      try {
        return parse(readFileSync(file, 'utf8'))?.type === 'module';
      } catch (error) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (at === root || at === path.dirname(at)) return false;
  }
}

async function loadModule(root, folder, name) {
  const file = path.resolve(root, folder, name);
  const asCommon = (extension) => (existsSync(file + extension) && fs.statSync(file + extension).isFile()
    ? require(file + extension) : undefined);
  const asModule = async (extension) => (existsSync(file + extension)
    ? import(pathToFileURL(file + extension).href) : undefined);
  const isModule = nearestIsModule(path.dirname(file), root);
  return asCommon('')
    || (!isModule && asCommon('.js'))
    || (isModule && await asModule('.js'))
    || await asModule('.mjs')
    || asCommon('.cjs')
    || require(require.resolve(name, { paths: [root, path.resolve(root, folder)] }));
}

async function loadHandler(root, handler) {
  if (handler.includes('..')) {
    throw runtimeError('MalformedHandlerName', `'${handler}' is not a valid handler name. Use absolute paths when `
      + 'specifying root directories in handler names.');
  }
  const last = path.basename(handler);
  const folder = handler.substring(0, handler.indexOf(last));
  const split = /^([^.]*)\.(.*)$/.exec(last);
  if (!split) throw runtimeError('MalformedHandlerName', 'Bad handler');
  let found;
  try {
    found = await loadModule(root, folder, split[1]);
  } catch (error) {
    if (error instanceof SyntaxError) throw runtimeError('UserCodeSyntaxError', String(error));
    if (error && error.code === 'MODULE_NOT_FOUND') throw runtimeError('ImportModuleError', String(error));
    throw error;
  }
  for (const key of split[2].split('.')) found = found && found[key];
  if (!found) throw runtimeError('HandlerNotFound', `${handler} is undefined or not exported`);
  if (typeof found !== 'function') throw runtimeError('HandlerNotFound', `${handler} is not a function`);
  return found;
}

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');

/** Collects what a streaming handler writes: callers of Invoke without streaming get it whole. */
class ResponseStream extends Writable {
  constructor() {
    super();
    this.chunks = [];
    this.bytes = 0;
  }

  setContentType(type) {
    this.contentType = type;
  }

  _write(chunk, _encoding, next) {
    const bytes = Buffer.from(chunk);
    this.bytes += bytes.length;
    if (this.bytes <= RESULT_BYTES_MAX) this.chunks.push(bytes);
    next();
  }
}

function installGlobals() {
  globalThis.awslambda = {
    streamifyResponse(handler) {
      handler[STREAMING] = 'response';
      return handler;
    },
    HttpResponseStream: {
      from(stream, prelude) {
        stream.setContentType('application/vnd.awslambda.http-integration-response');
        stream.write(stringify(prelude));
        stream.write(Buffer.alloc(8));
        return stream;
      },
    },
  };
}

// ------------------------------------------------------------------------------------------------ invoking

let constants;
let handler;
let whenEmpty = null;
let current = null;

function next() {
  receive((bytes, kind, end) => {
    if (kind !== KIND.INVOKE) reallyExit(1);
    const aboutEnd = HEADER + 4 + bytes.readUInt32LE(HEADER);
    return new Invocation({
      sequence: bytes.readBigUInt64LE(5),
      about: parse(bytes.toString('utf8', HEADER + 4, aboutEnd)),
      event: bytes.toString('utf8', aboutEnd, end),
    });
  }).start();
}

/** One invocation: its answer is sent once, whoever asks first. */
class Invocation {
  constructor({ sequence, about, event }) {
    this.sequence = sequence;
    this.about = about;
    this.event = event;
    this.answered = false;
  }

  answer(kind, text, flags) {
    if (this.answered) return;
    this.answered = true;
    whenEmpty = null;
    current = null;
    send(kind, this.sequence, text, flags);
    immediately(next);
  }

  fail(error) {
    if (this.answered) return;
    sayError('Invoke Error', error);
    this.answer(KIND.ERROR, documentOf(error), 0);
  }

  succeed(result) {
    if (this.answered) return;
    let text;
    try {
      text = stringify(result === undefined ? null : result);
    } catch {
      text = undefined;
    }
    if (text === undefined) return this.fail(new Error('Unable to stringify response body'));
    this.succeedWith(text);
  }

  succeedWith(text) {
    if (Buffer.byteLength(text) > RESULT_BYTES_MAX) {
      return this.answer(KIND.ERROR, stringify({
        errorMessage: `Response payload size exceeded maximum allowed payload size (${RESULT_BYTES_MAX} bytes).`,
        errorType: 'Function.ResponseSizeTooLarge',
      }), 0);
    }
    this.answer(KIND.RESULT, text);
  }

  context() {
    const { about } = this;
    const context = {
      awsRequestId: about.id,
      invokedFunctionArn: about.arn,
      functionName: constants.functionName,
      functionVersion: constants.functionVersion,
      memoryLimitInMB: constants.memorySize,
      logGroupName: constants.logGroup,
      logStreamName: constants.logStream,
      clientContext: about.clientContext ? parse(about.clientContext) : undefined,
      identity: undefined,
      tenantId: undefined,
      getRemainingTimeInMillis: () => about.deadline - now(),
    };
    return context;
  }

  start() {
    requestId = this.about.id;
    current = this;
    if (this.about.trace) process.env._X_AMZN_TRACE_ID = this.about.trace;
    else delete process.env._X_AMZN_TRACE_ID;
    if (handler[STREAMING]) this.stream();
    else this.run();
  }

  run() {
    // `used` and `answered` differ: a callback that waits for the event loop has been used but not answered.
    let used = false;
    let waits = true;
    const once = (act) => (...values) => {
      if (used) return;
      used = true;
      act(...values);
    };
    const done = (error, result) => {
      whenEmpty = null;
      if (error !== undefined && error !== null) this.fail(error);
      else this.succeed(result);
    };
    const callback = once((error, result) => {
      if ((error !== undefined && error !== null) || !waits) done(error, result);
      else whenEmpty = () => immediately(() => this.succeed(result));
    });
    const isAsync = handler.constructor && handler.constructor.name === 'AsyncFunction';
    whenEmpty = () => {
      if (isAsync) this.fail(runtimeError('NodeJsExit', ''));
      else this.succeed(null);
    };
    const succeed = once((result) => done(null, result));
    const fail = once((error) => done(error === undefined || error === null ? 'handled' : error));
    try {
      const context = this.context();
      const given = [parse(this.event), context];
      if (constants.callbacks) {
        Object.defineProperty(context, 'callbackWaitsForEmptyEventLoop', {
          get: () => waits,
          set: (value) => { waits = value; },
          enumerable: true,
        });
        Object.assign(context, { done: once(done), succeed, fail });
        given.push(callback);
      }
      const result = handler(...given);
      if (result && typeof result.then === 'function') result.then(succeed, fail);
    } catch (error) {
      callback(error === undefined || error === null ? String(error) : error);
    }
  }

  async stream() {
    whenEmpty = () => this.fail(runtimeError('NodeJsExit', ''));
    try {
      const stream = new ResponseStream();
      const result = handler(parse(this.event), stream, this.context());
      if (!result || typeof result.then !== 'function') {
        throw new Error('Streaming does not support non-async handlers.');
      }
      await result;
      if (!stream.writableEnded) throw new Error('Response stream is not finished.');
      if (!stream.writableFinished) await new Promise((resolve) => { stream.once('finish', resolve); });
      this.succeedWith(stream.bytes > RESULT_BYTES_MAX
        ? ' '.repeat(RESULT_BYTES_MAX + 1) : Buffer.concat(stream.chunks).toString('utf8'));
    } catch (error) {
      this.fail(error === undefined || error === null ? 'handled' : error);
    }
  }
}

// ------------------------------------------------------------------------------------------------ the process

/** An error nobody caught: answers for the invocation (or the init) and exits, as nothing is certain any more. */
function die(title, error, code) {
  sayError(title, error);
  if (current) {
    current.answered = true;
    send(KIND.ERROR, current.sequence, documentOf(error), FLAG_EXITING);
  } else if (!handler) {
    send(KIND.INIT_ERROR, 0n, documentOf(error));
  }
  process.exit(code);
}

process.on('uncaughtException', (error) => die('Uncaught Exception', error, 129));
process.on('unhandledRejection', (reason) => {
  const error = runtimeError('UnhandledPromiseRejection', String(reason));
  error.reason = reason;
  die('Unhandled Promise Rejection', error, 128);
});
process.on('beforeExit', () => {
  const act = whenEmpty;
  whenEmpty = null;
  if (act) act();
});

async function main() {
  patchConsole();
  const hello = Buffer.alloc(4);
  hello.writeUInt32LE(1);
  send(KIND.HELLO, 0n, hello.toString('latin1'));
  constants = receive((bytes, kind, end) => {
    if (kind !== KIND.LOAD) reallyExit(1);
    return parse(bytes.toString('utf8', HEADER, end));
  });
  installGlobals();
  let loaded;
  try {
    loaded = await loadHandler(constants.taskRoot, constants.handler);
    if (!constants.callbacks && !loaded[STREAMING] && loaded.length >= 3) {
      throw runtimeError('CallbackHandlerDeprecated', 'AWS Lambda has removed support for callback-based function '
        + 'handlers starting with Node.js 24. You need to modify this function to use a supported handler signature '
        + 'to use Node.js 24 or later.');
    }
  } catch (error) {
    return die('Uncaught Exception', error, 129);
  }
  handler = loaded;
  send(KIND.READY, 0n, '');
  immediately(next);
}

main();
