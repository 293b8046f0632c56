// An AWS_PROXY backend for the replayed cases: the body every case expects, and requestContext.authorizer in a header.
'use strict';
exports.handler = async (event) => ({
  statusCode: 200,
  headers: {
    'Content-Type': 'application/json',
    'X-Authorizer': Buffer.from(JSON.stringify(event.requestContext.authorizer ?? null)).toString('base64'),
  },
  body: '{"ok":true}',
});
