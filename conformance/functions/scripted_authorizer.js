// Answers by script: the n-th invocation plays the n-th entry of the SCRIPT variable (JSON), later ones repeat the last.
// An entry is {"returns": ..}, {"throws": {"errorMessage", "errorType"}} or {"sleeps_ms": n}. In a returned value
// "${METHOD_ARN}" stands for the event's methodArn.
//
// {"probe": true} is not counted: it answers with what was seen so far. That works across any isolation, because it
// needs nothing but an environment being used again.
'use strict';
const script = JSON.parse(process.env.SCRIPT || '[]');
const seen = [];

exports.handler = async (event) => {
  if (event && event.probe === true) {
    return { count: seen.length, events: seen };
  }
  seen.push(event);
  if (script.length === 0) {
    throw new Error('this function must not be invoked');
  }
  const entry = script[Math.min(seen.length, script.length) - 1];
  if (entry.sleeps_ms) {
    await new Promise((resolve) => setTimeout(resolve, entry.sleeps_ms));
  }
  if (entry.throws) {
    const error = new Error(entry.throws.errorMessage);
    if (entry.throws.errorType) {
      error.name = entry.throws.errorType;
    }
    throw error;
  }
  return JSON.parse(JSON.stringify(entry.returns).split('${METHOD_ARN}').join(event.methodArn));
};
