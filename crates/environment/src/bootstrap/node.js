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

const { readSync, writeSync, existsSync, readFileSync } = fs;
const { parse, stringify } = JSON;
const immediately = setImmediate;
const reallyExit = process.reallyExit.bind(process);
const now = Date.now;

const SOCKET = 3;
const HEADER = 13;
const KIND = {
  LOAD: 1, INVOKE: 2, HELLO: 16, READY: 17, RESULT: 18, ERROR: 19, INIT_ERROR: 20, STREAM_START: 21, STREAM_CHUNK: 22,
  STREAM_END: 23,
};
const FLAG_EXITING = 1;
const CHUNK_BYTES_MAX = 1024 * 1024;
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

function sendBytes(kind, sequence, bytes) {
  const head = Buffer.allocUnsafe(HEADER);
  head.writeUInt32LE(HEADER - 4 + bytes.length, 0);
  head[4] = kind;
  head.writeBigUInt64LE(sequence, 5);
  try {
    writeAll(SOCKET, bytes.length <= BUFFER_BYTES ? Buffer.concat([head, bytes]) : head);
    if (bytes.length > BUFFER_BYTES) writeAll(SOCKET, bytes);
  } catch {
    reallyExit(1);
  }
}

const greet = () => sendBytes(KIND.HELLO, 0n, Buffer.from([1, 0, 0, 0]));
const isStandby = !process.env.AWS_LAMBDA_FUNCTION_NAME;
// The server learns that the process runs before the rest of this file costs time; of one that waits for a function it
// learns when it is of use.
if (!isStandby) greet();

const path = require('path');
const util = require('util');
const { Writable } = require('stream');
const { pathToFileURL } = require('url');

const { format } = util;
const { isNativeError } = util.types;

// ------------------------------------------------------------------------------------------------ log

let requestId;
let sayError;

/**
 * Writes one event of the log: a record of kind, length, time and text, so that a message of several lines stays one.
 * The form is that of AWS's telemetry descriptor; here it goes through standard output, in order with what else does.
 */
function record(kind, time, text) {
  const length = Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafe(16 + length);
  bytes.writeUInt32BE(kind, 0);
  bytes.writeUInt32BE(length, 4);
  bytes.writeBigInt64BE(BigInt(time) * 1000n, 8);
  bytes.write(text, 16);
  try {
    writeAll(1, bytes);
  } catch {
    // The log is closed; the function goes on.
  }
}

const nameOf = (error) => (error && error.constructor && error.constructor.name) || 'UnknownError';
const linesOf = (stack, otherwise) => (typeof stack === 'string' ? stack.split('\n') : otherwise);

function withErrors(_key, value) {
  if (!(value instanceof Error)) return value;
  return Object.assign({
    errorType: nameOf(value), errorMessage: value.message, stackTrace: linesOf(value.stack, value.stack),
  }, value);
}

function jsonOf(time, level, values) {
  const event = { timestamp: new Date(time).toISOString(), level, requestId };
  if (values.length === 1) {
    event.message = values[0];
    try {
      return stringify(event, withErrors);
    } catch {
      event.message = format(event.message);
      return stringify(event);
    }
  }
  event.message = format(...values);
  const error = values.find((value) => value instanceof Error);
  if (error) {
    Object.assign(event, {
      errorType: nameOf(error), errorMessage: error.message, stackTrace: linesOf(error.stack, []),
    });
  }
  return stringify(event);
}

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

function patchConsole() {
  const json = (process.env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
  const least = Math.max(0, LEVELS.indexOf((process.env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase()));
  LEVELS.forEach((level, index) => {
    const kind = ((json ? 0xa55a0002 : 0xa55a0003) | ((index + 1) << 2)) >>> 0;
    const say = json
      ? (...values) => {
        const time = now();
        record(kind, time, jsonOf(time, level, values));
      }
      : (...values) => {
        const time = now();
        record(kind, time, `${new Date(time).toISOString()}\t${requestId}\t${level}\t${format(...values)}\n`);
      };
    console[level.toLowerCase()] = index >= least || level === 'FATAL' ? say : () => {};
  });
  console.log = console.info;
  const { error: sayAtError } = console;
  const asError = (error) => (error instanceof Error ? error : new Error(error));
  sayError = json
    ? (_title, error) => sayAtError(asError(error))
    : (title, error) => sayAtError(title, `\t${formatted(asError(error))}`);
}

function withEnumerable(_key, value) {
  if (!(value instanceof Error)) return value;
  const shown = Object.assign({ errorType: value.name, errorMessage: value.message, code: value.code }, value);
  if (typeof value.stack === 'string') shown.stack = value.stack.split('\n');
  return shown;
}

function formatted(error) {
  try {
    return stringify(error, withEnumerable);
  } catch {
    return stringify(describe(error));
  }
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
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');

/** What a streaming handler writes to. Writes block while the reader is slower, as everything does on this socket. */
class ResponseStream extends Writable {
  constructor(sequence, highWaterMark) {
    super(highWaterMark === undefined ? {} : { highWaterMark });
    // Not visible to what iterates over the stream's properties.
    Object.defineProperties(this, {
      sequence: { value: sequence },
      contentType: { value: 'application/octet-stream', writable: true },
      begun: { value: false, writable: true },
      written: { value: false, writable: true },
      _onBeforeFirstWrite: { value: undefined, writable: true },
    });
  }

  setContentType(type) {
    if (this.written) throw runtimeError('InvalidStreamingOperation', 'Cannot set content-type, too late.');
    this.contentType = String(type);
  }

  write(chunk, encoding, callback) {
    let given = chunk;
    if (typeof given !== 'string' && !Buffer.isBuffer(given) && (given === undefined || given === null
      || given.constructor !== Uint8Array)) {
      given = stringify(given);
    }
    this.first();
    return super.write(given, encoding, callback);
  }

  end(...values) {
    this.first();
    return super.end(...values);
  }

  first() {
    if (this.written) return;
    this.written = true;
    if (typeof this._onBeforeFirstWrite === 'function') this._onBeforeFirstWrite((chunk) => super.write(chunk));
  }

  begin() {
    if (this.begun) return;
    this.begun = true;
    send(KIND.STREAM_START, this.sequence, this.contentType);
  }

  _write(chunk, _encoding, next) {
    this.begin();
    for (let at = 0; at < chunk.length; at += CHUNK_BYTES_MAX) {
      sendBytes(KIND.STREAM_CHUNK, this.sequence, chunk.subarray(at, at + CHUNK_BYTES_MAX));
    }
    next();
  }
}

function installGlobals() {
  globalThis.awslambda = {
    streamifyResponse(given, options) {
      given[STREAMING] = 'response';
      if (options && typeof options.highWaterMark === 'number') given[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return given;
    },
    HttpResponseStream: {
      from(stream, prelude) {
        stream.setContentType('application/vnd.awslambda.http-integration-response');
        const metadata = stringify(prelude);
        stream._onBeforeFirstWrite = (write) => {
          write(metadata);
          write(new Uint8Array(8));
        };
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
    const stream = new ResponseStream(this.sequence, handler[HIGH_WATER_MARK]);
    const finished = new Promise((resolve, reject) => {
      stream.once('finish', resolve);
      stream.once('error', reject);
    });
    finished.catch(() => {});
    whenEmpty = () => this.endStream(stream, 'Response stream is not finished.');
    try {
      const context = Object.assign(this.context(), { callbackWaitsForEmptyEventLoop: true });
      const result = handler(parse(this.event), stream, context);
      if (!result || typeof result.then !== 'function') {
        return this.endStream(stream, 'Streaming does not support non-async handlers.');
      }
      if (await result !== undefined) console.warn('Streaming handlers ignore return values.');
      await finished;
      this.endStream(stream);
    } catch (error) {
      this.endStream(stream, error === undefined || error === null ? 'handled' : error);
    }
  }

  endStream(stream, error) {
    if (this.answered) return;
    const failed = error !== undefined;
    if (failed) sayError('Invoke Error', error);
    stream.begin();
    this.answer(KIND.STREAM_END, failed ? documentOf(error) : '');
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

/**
 * Started without a function, a process has time until it gets one: what most functions need is loaded meanwhile, and
 * what loading and calling one takes is done once, so that it is compiled.
 */
async function warmUp() {
  for (const name of ['async_hooks', 'buffer', 'crypto', 'dns', 'events', 'http', 'https', 'net', 'os', 'querystring',
    'stream/promises', 'string_decoder', 'timers/promises', 'tls', 'url', 'zlib']) {
    require(name);
  }
  const Module = require('module');
  const rehearsed = new Module(`${__dirname}/rehearsal.js`);
  rehearsed._compile('exports.handler = async (event) => event;', rehearsed.id);
  become({ ...process.env, REHEARSAL: '1' });
  become(Object.fromEntries(Object.entries(process.env).filter(([name]) => name !== 'REHEARSAL')));
  nearestIsModule(__dirname, __dirname);
  await loadModule(__dirname, '', 'rehearsal.json').catch(() => {});
  const { console: own } = globalThis;
  const kept = { ...own };
  patchConsole();
  Object.assign(own, kept);
  constants = { callbacks: true };
  handler = rehearsed.exports.handler;
  const invocation = new Invocation({ sequence: 0n, about: { id: '', arn: '', deadline: 0 }, event: '{"a":[1,"b"]}' });
  const answered = new Promise((resolve) => { invocation.answer = resolve; });
  invocation.start();
  await answered;
  constants = handler = requestId = undefined;
  whenEmpty = current = null;
  // The young generation is collected now, or it would be within the first invocation.
  const { getHeapSpaceStatistics } = require('v8');
  const used = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_used_size;
  for (let before = 0, now = used(), tries = 0; now >= before && tries < 4096; tries += 1) {
    before = now;
    new Array(1024).fill(tries);
    now = used();
  }
}

/** Takes on the environment of the function: what a process gets by being started with it. */
function become(environment) {
  const { env } = process;
  for (const name of Object.keys(env)) {
    if (!(name in environment)) delete env[name];
  }
  for (const name of Object.keys(environment)) {
    if (env[name] !== environment[name]) env[name] = environment[name];
  }
  // Where modules are looked for is read from the environment once, at the start.
  require('module')._initPaths();
}

async function main() {
  if (isStandby) {
    await warmUp();
    greet();
  }
  constants = receive((bytes, kind, end) => {
    if (kind !== KIND.LOAD) reallyExit(1);
    return parse(bytes.toString('utf8', HEADER, end));
  });
  if (constants.environment) {
    become(constants.environment);
    process.chdir(constants.taskRoot);
  }
  patchConsole();
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
