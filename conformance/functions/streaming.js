// Streams what it is asked for: `parts` one by one, `pause_ms` between them, then perhaps an error.
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  if (event.fail_first) {
    throw new Error("before the first byte");
  }
  for (const part of event.parts || []) {
    stream.write(part);
    await new Promise((resolve) => setTimeout(resolve, event.pause_ms || 0));
  }
  for (let left = event.bytes || 0; left > 0; left -= 65536) {
    const fits = stream.write(Buffer.alloc(Math.min(left, 65536), "x"));
    if (!fits) {
      await new Promise((resolve) => stream.once("drain", resolve));
    }
  }
  if (event.fail_last) {
    throw new TypeError("after some bytes");
  }
  console.log("streamed");
  stream.end();
  await new Promise((resolve) => stream.once("finish", resolve));
});
