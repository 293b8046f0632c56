// Answers with its event and its environment's own variables.
'use strict';
exports.handler = async (event, context) => ({
  event,
  version: context.functionVersion,
  arn: context.invokedFunctionArn,
  greeting: process.env.GREETING ?? null,
});
